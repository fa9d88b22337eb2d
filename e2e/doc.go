// Package e2e holds the end-to-end tests: the library against a real S3 server and a key service that speaks the
// protocol of AWS KMS, with a proxy between them that makes requests fail.
//
//	s3server    the S3 server, in this process or in a child process
//	faultproxy  the proxy
//	measure     peak memory, and plaintext of any size
//	demo        a program that shows the whole path:  go run -C e2e ./demo
//
// It is a module of its own, so that the server's dependencies are nobody else's.
package e2e
