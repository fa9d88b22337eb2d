// Package s3download reads encrypted streams that are stored as S3 objects:
// any range of the plaintext, all of it in order, or all of it at once into a
// file.
//
// [Open] asks for the header and for the first range that the caller wants at
// the same time, and authenticates the header; an [Object] then fetches whole
// segments, opens them, and gives out nothing else. The store is not trusted:
// whatever it answers, the plaintext is the one that was encrypted, or there is
// an error.
//
//	object, err := s3download.Open(ctx, client, &s3.GetObjectInput{
//		Bucket: aws.String("bucket"),
//		Key:    aws.String("key"),
//	}, keys, nil)
//	if err != nil {
//		return err
//	}
//	defer object.Close()
//	_, err = object.ReadAt(p, offset)
//
// A header that is stored apart from its payload, as package s3upload does on
// request, is found by itself: in the object's user metadata, or in the object
// beside it. [Inspect] reads the header alone, and [List] tells what is under a
// prefix, an object and the header beside it as one; neither needs a key.
//
// All requests of an Object are for one version of the object: that of the
// first answer. If it is replaced meanwhile, reading goes on where the bucket
// keeps versions, and fails with [ErrChanged] where it does not. A body that is
// cut, fails or stalls is asked for again from the last segment that was
// opened.
package s3download
