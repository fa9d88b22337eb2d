package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/spf13/pflag"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
)

// keyFileEnv names the key file when no key is given.
const keyFileEnv = "BULLA_KEY_FILE"

// keyFlags say which wrapping keys to use.
type keyFlags struct {
	files       []string
	insecure    bool
	kms         []string
	kmsEndpoint string
	aws         awsFlags
}

// awsFlags are for every AWS service.
type awsFlags struct {
	region  string
	profile string
}

func (f *keyFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "key", "k", nil, "key `FILE`; repeatable: write for the first, read with any")
	flags.StringArrayVar(&f.kms, "kms", nil, "AWS KMS key: `ID`, ARN or alias/NAME; repeatable likewise")
	flags.BoolVar(&f.insecure, "insecure-key-file", false, "accept key files that other users can read")
	flags.StringVar(&f.kmsEndpoint, "kms-endpoint-url", "", "`URL` of the KMS endpoint")
	f.aws.register(flags)
}

func (f *awsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.region, "region", "", "AWS `REGION` (a key ARN has its own)")
	flags.StringVar(&f.profile, "profile", "", "`NAME` of the AWS profile")
}

// load returns the configuration as the AWS CLI would find it.
func (f *awsFlags) load(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(f.region), config.WithSharedConfigProfile(f.profile))
	if err != nil {
		return cfg, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	return cfg, nil
}

// load returns what wraps data keys and what unwraps them. A stream that is
// written is for the first key file and the first KMS key.
func (f *keyFlags) load(ctx context.Context) (keywrap.Wrapper, keywrap.Unwrapper, error) {
	files := f.files
	if env := os.Getenv(keyFileEnv); env != "" && len(f.files)+len(f.kms) == 0 {
		files = []string{env}
	}
	if len(files)+len(f.kms) == 0 {
		return nil, nil, usagef("no key: give --key FILE or --kms ID, or set %s", keyFileEnv)
	}
	var wrappers []keywrap.Wrapper // KMS first: it then makes the data key, which takes no further permission
	var unwrappers []keywrap.Unwrapper
	if len(files) > 0 {
		ring, err := readKeys(files, f.insecure)
		if err != nil {
			return nil, nil, keyError{err}
		}
		wrappers, unwrappers = append(wrappers, ring), append(unwrappers, ring)
	}
	if len(f.kms) > 0 {
		rings, err := f.loadKMS(ctx)
		if err != nil {
			return nil, nil, err
		}
		wrappers = append([]keywrap.Wrapper{rings[0]}, wrappers...)
		for _, ring := range rings {
			unwrappers = append(unwrappers, ring)
		}
	}
	return keywrap.Multi(wrappers...), keywrap.AnyOf(unwrappers...), nil
}

// loadKMS returns a keyring for each KMS key, as each may be in a Region of its
// own, which a key ARN tells.
func (f *keyFlags) loadKMS(ctx context.Context) ([]*awskms.Keyring, error) {
	cfg, err := f.aws.load(ctx)
	if err != nil {
		return nil, err
	}
	var rings []*awskms.Keyring
	for _, id := range f.kms {
		client := kms.NewFromConfig(cfg, func(o *kms.Options) {
			if name, err := arn.Parse(id); err == nil {
				o.Region = name.Region
			}
			if f.kmsEndpoint != "" {
				o.BaseEndpoint = &f.kmsEndpoint
			}
		})
		ring, err := awskms.New(client, id, nil)
		if err != nil {
			return nil, usageError{err}
		}
		rings = append(rings, ring)
	}
	return rings, nil
}

func readKeys(files []string, insecure bool) (*keywrap.Keyring, error) {
	var keys []keywrap.Key
	for _, file := range files {
		key, err := readKey(file, insecure)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keywrap.NewKeyring(keys[0], keys[1:]...)
}

// readKey reads a key file, unless others than its owner can read it too.
func readKey(name string, insecure bool) (*keywrap.AESKey, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// Windows has no such mode bits: there the file's ACL decides.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !insecure && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("key file %s has mode %04o, others can use it: run chmod 600 %s, or pass --insecure-key-file", name, mode, name)
	}
	var text [2048]byte // the longest key name included
	defer clear(text[:])
	n, err := io.ReadFull(file, text[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	key, err := keywrap.ParseAESKey(text[:n])
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", name, err)
	}
	return key, nil
}
