package awskms_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/keywraptest"
)

func TestConformance(t *testing.T) {
	s, client := start(t)
	for form, name := range map[string]func(arn string) string{
		"ARN":   func(arn string) string { return arn },
		"id":    keyID,
		"alias": func(arn string) string { return "alias/" + keyID(arn) },
	} {
		newKey := func(t testing.TB) *awskms.Keyring {
			arn := s.CreateKey()
			createAlias(t, client, "alias/"+keyID(arn), arn)
			k, err := awskms.New(client, name(arn), nil)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		config := keywraptest.Config{Type: format.KeyTypeKMS, BindsContext: true, Stride: 5}
		t.Run(form, func(t *testing.T) {
			config.New = func(t testing.TB) keywraptest.Pair {
				k := newKey(t)
				return keywraptest.Pair{Wrapper: k, Unwrapper: k}
			}
			keywraptest.Run(t, config)
		})
		t.Run(form+" with caches", func(t *testing.T) {
			config.New = func(t testing.TB) keywraptest.Pair { return cached(t, newKey(t)) }
			keywraptest.Run(t, config)
		})
	}
}

// cached puts caches in front of a keyring.
func cached(t testing.TB, k *awskms.Keyring) keywraptest.Pair {
	w, err := keywrap.NewWrapperCache(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	u, err := keywrap.NewUnwrapperCache(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return keywraptest.Pair{Wrapper: w, Unwrapper: u}
}

func TestConformanceRSA(t *testing.T) {
	_, client := start(t)
	arns := [2]string{createRSAKey(t, client, types.KeySpecRsa2048), createRSAKey(t, client, types.KeySpecRsa2048)}
	for _, sameName := range []bool{true, false} {
		t.Run(fmt.Sprint("same name ", sameName), func(t *testing.T) {
			next := 0
			keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeRSA, Size: 256, Stride: 61, New: func(t testing.TB) keywraptest.Pair {
				next++
				name := "rsa"
				if !sameName {
					name += fmt.Sprint(next)
				}
				k, err := awskms.NewRSAKey(client, name, arns[next%2], nil)
				if err != nil {
					t.Fatal(err)
				}
				return keywraptest.Pair{Wrapper: k, Unwrapper: k}
			}})
		})
	}
}
