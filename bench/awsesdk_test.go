package bench

import (
	"context"
	"io"

	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygenerated"
	mpltypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	esdk "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygenerated"
	esdktypes "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygeneratedtypes"
)

// awsEncryptionSDK has a raw AES keyring, frames of 64 KiB, and the default
// suite without its signature, which the other formats do not have either. It
// takes and returns whole messages.
func awsEncryptionSDK() (*codec, error) {
	ctx := context.Background()
	client, err := esdk.NewClient(esdktypes.AwsEncryptionSdkConfig{})
	if err != nil {
		return nil, err
	}
	providers, err := mpl.NewClient(mpltypes.MaterialProvidersConfig{})
	if err != nil {
		return nil, err
	}
	keyring, err := providers.CreateRawAesKeyring(ctx, mpltypes.CreateRawAesKeyringInput{
		KeyNamespace: "bench", KeyName: "bench",
		WrappingAlg: mpltypes.AesWrappingAlgAlgAes256GcmIv12Tag16,
		WrappingKey: randomBytes(32),
	})
	if err != nil {
		return nil, err
	}
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			out, err := client.Encrypt(ctx, esdktypes.EncryptInput{
				Plaintext:        plaintext.whole,
				Keyring:          keyring,
				AlgorithmSuiteId: new(mpltypes.ESDKAlgorithmSuiteIdAlgAes256GcmHkdfSha512CommitKey),
				FrameLength:      new(int64(64 * kib)),
			})
			if err != nil {
				return err
			}
			_, err = dst.Write(out.Ciphertext)
			return err
		},
		decrypt: func(dst io.Writer, stored input) error {
			out, err := client.Decrypt(ctx, esdktypes.DecryptInput{Ciphertext: stored.whole, Keyring: keyring})
			if err != nil {
				return err
			}
			_, err = dst.Write(out.Plaintext)
			return err
		},
	}, nil
}
