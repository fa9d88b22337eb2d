// Package s3upload encrypts plaintext on its way to S3: in one PutObject
// request when it is small, in a multipart upload otherwise, with memory that
// does not grow with the object.
//
//	up := s3upload.New(client, keys, nil)
//	res, err := up.Upload(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: file})
//
// # What is promised
//
// The object becomes visible whole or not at all: the request that completes
// it is sent only after the source ended as it should, at the declared size
// and with the caller's checksums, and after every stored byte was
// acknowledged. After any failure, and after a cancelled context, the multipart
// upload is aborted, so that no parts stay and are billed; when that fails
// too, [*UploadError] has the upload's id. A bucket should have a lifecycle
// rule for incomplete multipart uploads all the same: a process that dies
// aborts nothing.
//
// # What is about the plaintext
//
// Body, ContentLength, ContentMD5 and the Checksum fields of the PutObjectInput
// describe the plaintext, and are verified while it is read; none of them is
// sent. ChecksumAlgorithm is what the SDK computes over the stored bytes. All
// other fields reach S3 as they are, and are stored in the clear: user metadata
// and the content type say what they say to everyone who may read the object's
// head. What must stay secret belongs into stream.EncryptOptions.Metadata.
package s3upload
