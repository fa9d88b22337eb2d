// Package bulla is the root of the module; it holds no code. Bulla encrypts
// streams before they reach object storage: in constant memory, readable from
// any offset with every byte authenticated, under keys that can be changed
// without touching the ciphertext. SPEC.md defines the format.
//
// The map:
//
//	stream       encrypt and decrypt streams; what most programs import
//	keywrap      wrap data keys: AES keys, keyrings, several keys at once
//	  awskms     under AWS KMS keys
//	    kmstest  a KMS server for tests
//	s3upload     plaintext to an S3 object, in constant memory; re-wrap there
//	s3download   an S3 object as io.ReaderAt, io.ReadSeeker and more; lists
//	s3fs         the objects under a prefix as an io/fs.FS, and over HTTP
//	format       bytes to headers and back; sizes and offsets
//	cmd/bulla    the command
//
// Everything points one way: s3fs uses s3download, which like s3upload uses
// stream, which uses keywrap and format. Only the packages named after AWS services, and the
// command, depend on the AWS SDK.
package bulla
