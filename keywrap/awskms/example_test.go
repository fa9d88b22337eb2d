package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
	"github.com/bulla-format/bulla/stream"
)

func Example() {
	// In a program, cfg comes from the SDK's config.LoadDefaultConfig.
	server := kmstest.New(nil)
	defer server.Close()
	server.CreateKey("alias/backups")
	cfg := server.Config()

	keys, err := awskms.New(kms.NewFromConfig(cfg), "alias/backups", nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The stream package makes these calls.
	ctx := context.Background()
	ec := keywrap.Context{"tenant": "example"}
	dataKey, wrapped, err := keys.GenerateKey(ctx, ec)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer clear(dataKey)
	again, err := keys.UnwrapKey(ctx, wrapped[0], ec)
	fmt.Println(bytes.Equal(again, dataKey), err)

	_, err = keys.UnwrapKey(ctx, wrapped[0], keywrap.Context{"tenant": "other"})
	fmt.Println(errors.Is(err, keywrap.ErrUnwrap))
	// Output:
	// true <nil>
	// true
}

// Give one data key to several streams, so that they do not cost a call of KMS
// each.
func Example_cache() {
	server := kmstest.New(nil)
	defer server.Close()
	server.CreateKey("alias/backups")

	keys, err := awskms.New(kms.NewFromConfig(server.Config()), "alias/backups", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	cache, err := keywrap.NewWrapperCache(keys, &keywrap.CacheOptions{MaxStreams: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	for range 1000 {
		w, err := stream.NewEncryptWriter(context.Background(), io.Discard, cache, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := w.Close(); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(cache.Stats().Calls, "calls")
	// Output:
	// 10 calls
}

// Log every use of KMS with a middleware of the SDK. Its input and output hold
// data keys: log the operation, the error, and nothing else of them.
func Example_logging() {
	server := kmstest.New(nil)
	defer server.Close()
	arn := server.CreateKey()

	logged := middleware.InitializeMiddlewareFunc("LogKMS", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleInitialize(ctx, in)
		_, hasRequestID := awsmiddleware.GetRequestIDMetadata(metadata)
		fmt.Println(awsmiddleware.GetOperationName(ctx), hasRequestID, err)
		return out, metadata, err
	})
	client := kms.NewFromConfig(server.Config(), func(o *kms.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(logged, middleware.After)
		})
	})

	keys, err := awskms.New(client, arn, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, wrapped, err := keys.GenerateKey(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := keys.UnwrapKey(context.Background(), wrapped[0], nil); err != nil {
		fmt.Println(err)
	}
	// Output:
	// GenerateDataKey true <nil>
	// Decrypt true <nil>
}

// Ask at start-up whether the keys can be used.
func ExampleKeyring_CheckPermissions() {
	server := kmstest.New(nil)
	defer server.Close()
	arn := server.CreateKey("alias/backups")
	client := kms.NewFromConfig(server.Config())
	ctx := context.Background()

	keys, err := awskms.New(client, "alias/backups", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(keys.CheckPermissions(ctx, nil))

	if _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &arn}); err != nil {
		fmt.Println(err)
		return
	}
	err = keys.CheckPermissions(ctx, nil, "GenerateDataKey")
	fmt.Println(errors.As(err, new(*types.DisabledException)))
	// Output:
	// <nil>
	// true
}

// A writer that cannot read: it has the public half of a key in KMS.
func ExampleRSAKey() {
	server := kmstest.New(nil)
	defer server.Close()
	client := kms.NewFromConfig(server.Config())
	ctx := context.Background()
	created, err := client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt})
	if err != nil {
		fmt.Println(err)
		return
	}

	reader, err := awskms.NewRSAKey(client, "backups-2026", *created.KeyMetadata.Arn, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	writer, err := reader.PublicKey(ctx) // or keywrap.ParseRSAPublicKey, without KMS
	if err != nil {
		fmt.Println(err)
		return
	}

	// The stream package makes these calls.
	dataKey, wrapped, err := keywrap.GenerateKey(ctx, writer, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer clear(dataKey)
	again, err := reader.UnwrapKey(ctx, wrapped[0], nil)
	fmt.Println(bytes.Equal(again, dataKey), err)
	// Output:
	// true <nil>
}
