package awskms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/format"
)

// A wrappingKey is a configured key. Unless it is an alias, it is fixed.
type wrappingKey struct {
	id    string // as configured
	alias bool

	describing chan struct{} // holds one token while an alias is looked up

	mu        sync.Mutex
	described bool
	keys      []keyARN // what id stands for; more than one if an alias moved
}

func newWrappingKey(id string) (*wrappingKey, error) {
	k := &wrappingKey{id: id}
	if _, resource, ok := parseARN(id); ok && validAlias(resource) || validAlias(id) {
		k.alias = true
		k.describing = make(chan struct{}, 1)
		return k, nil
	}
	k.described = true
	if arn, ok := parseKeyARN(id); ok {
		k.keys = []keyARN{arn}
	} else if validKeyID(id) {
		k.keys = []keyARN{{id: id}}
	} else {
		return nil, fmt.Errorf("awskms: %.100q is not a key: use a key ARN, a key id, an alias (alias/name) or an alias ARN", id)
	}
	return k, nil
}

// match returns the KeyId that pins a call to this key if the key is known to
// be the one that name names, else "".
func (k *wrappingKey) match(name keyARN) (pinned string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, arn := range k.keys {
		if !arn.covers(name) {
			continue
		}
		if k.alias {
			return arn.String()
		}
		return k.id
	}
	return ""
}

// pins returns the KeyId of every key that k is known to stand for.
func (k *wrappingKey) pins() (ids []string) {
	if !k.alias {
		return []string{k.id}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, arn := range k.keys {
		ids = append(ids, arn.String())
	}
	return ids
}

func (k *wrappingKey) resolved() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.described
}

// resolve looks an alias up in KMS, unless that was done before. Callers at
// the same time share one call; a failure is not kept.
func (k *wrappingKey) resolve(ctx context.Context, client Client, tokens []string) error {
	if k.resolved() {
		return nil
	}
	select {
	case k.describing <- struct{}{}:
		defer func() { <-k.describing }()
	case <-ctx.Done():
		return newError("DescribeKey", k.id, nil, ctx.Err())
	}
	if k.resolved() {
		return nil
	}
	out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &k.id, GrantTokens: tokens})
	if err != nil {
		return newError("DescribeKey", k.id, nil, err)
	}
	if out.KeyMetadata == nil || out.KeyMetadata.Arn == nil {
		return newAnswerError("DescribeKey", k.id, nil, errAnswer)
	}
	arn, ok := parseKeyARN(*out.KeyMetadata.Arn)
	if !ok {
		return newAnswerError("DescribeKey", k.id, nil, errAnswer)
	}
	k.learn(arn, true)
	return nil
}

// learn records that KMS has answered a call for the alias with this key.
func (k *wrappingKey) learn(arn keyARN, described bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.described = k.described || described
	if !slices.Contains(k.keys, arn) {
		k.keys = append(k.keys, arn)
	}
}

// wrapped makes a wrapped key of KMS's answer to a call for this key.
func (k *wrappingKey) wrapped(keyID *string, blob []byte) (format.WrappedKey, error) {
	if len(blob) < 1 || len(blob) > maxBlobSize {
		return format.WrappedKey{}, fmt.Errorf("KMS answered with a wrapped key of %d bytes, expected 1 to %d", len(blob), maxBlobSize)
	}
	if k.alias {
		arn, ok := keyARN{}, false
		if keyID != nil {
			arn, ok = parseKeyARN(*keyID)
		}
		if !ok {
			return format.WrappedKey{}, errAnswer
		}
		// What this keyring wraps it can unwrap, also when the alias has moved
		// since it was looked up.
		k.learn(arn, false)
	} else if err := checkAnswer(k.id, keyID); err != nil {
		return format.WrappedKey{}, err
	}
	return format.WrappedKey{Type: format.KeyTypeKMS, Name: *keyID, Data: blob}, nil
}

var errAnswer = errors.New("KMS answered without the ARN of the key that it used")

// checkAnswer checks that KMS used the key that a call was pinned to, a key
// ARN or a key id.
func checkAnswer(pinned string, keyID *string) error {
	if keyID == nil {
		return errAnswer
	}
	arn, ok := parseKeyARN(*keyID)
	if !ok {
		return errAnswer
	}
	if pinned == *keyID || pinned == arn.id {
		return nil
	}
	return fmt.Errorf("KMS used the key %s, not the one that it was asked for", arn)
}
