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
// aborts nothing. Only UploadResumable leaves its parts, to go on with them.
//
// # Pipes, memory and crashes
//
// Uploads of unknown size have parts that grow, within Options.Budget, which
// several uploads can share. [Uploader.UploadResumable] keeps a journal, from
// which the same call goes on after a crash. Such uploads run on the client's
// own requests; the others run on feature/s3/manager, whose parts are equal.
//
// # Where the header is
//
// In front of the payload, in the same object, unless the options say
// otherwise. Elsewhere it can be replaced, for a re-wrap, without touching the
// payload, and package s3download finds it by itself.
//
// With Options.HeaderInMetadata the header is in the object's user metadata. An
// object and its header are still one thing, written, replaced and deleted in
// one step; it costs no request. What copies the object must copy the metadata:
// a copy by way of files does not, nor does version 1 of the AWS CLI from 8 MB
// on, whose mv then deletes the only header there is. [Copy] and [Move] do.
//
// With Options.HeaderSuffix the header is an object beside the payload, written
// when all of the payload is at the store, just before that becomes visible. If
// it then does not become visible, the header is taken back: deleted, or
// replaced by the one that stood there before. What could not be undone is in
// [*UploadError]. Such an upload also takes the permissions s3:GetObject and
// s3:DeleteObject, and s3:DeleteObjectVersion in a bucket that keeps versions.
//
//   - Replacing a pair takes two steps. In between, the old payload stands beside
//     the new header, and readers get stream.ErrAuth, with the advice to open
//     again. A process that dies there leaves it so, and only a bucket that keeps
//     versions then still has the old header.
//   - Uploads to one key at the same time can leave the payload of one beside the
//     header of the other. IfNoneMatch, which the header object gets too, keeps
//     them apart.
//   - Whoever deletes the header object makes the payload unreadable for good.
//     Whoever deletes the payload, or uploads to its key with the header in
//     another place, leaves the header object.
//
// # Re-wrapping and copying
//
// [Rewrap] replaces the header of an object for other wrapping keys, and [Copy]
// and [Move] bring an object to another place; the store copies the payload by
// itself. [Delete] deletes a payload and then the header beside it.
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
