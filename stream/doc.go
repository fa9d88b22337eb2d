// Package stream encrypts and decrypts streams of any size in constant memory.
//
//   - [EncryptWriter] encrypts what is written to it, [EncryptReader] what is
//     read from a source.
//   - [DecryptReader] decrypts from front to back, [DecryptReaderAt] any range.
//   - [Inspect] tells what a header says, without any key.
//
// Keys come from package keywrap and the packages below it.
//
// # What is promised
//
// No plaintext byte is returned before it is authenticated, to its place in
// its stream. io.EOF is returned only after the final segment was
// authenticated: a stream that was cut gives [ErrTruncated] or [ErrAuth], never
// a silent end. A caller that must not act on a prefix of a stream waits for
// io.EOF, or calls [DecryptReaderAt.Verify].
//
// An encryption that failed, or was aborted, never leaves a stream that
// decrypts to its end. The idiom:
//
//	w, err := stream.NewEncryptWriter(ctx, dst, keys, nil)
//	if err != nil {
//		return err
//	}
//	defer w.Abort()
//	if _, err := io.Copy(w, src); err != nil {
//		return err
//	}
//	return w.Close()
//
// Not hidden: the size of the plaintext, the names of the wrapping keys, the
// context, the location, and which parts are read when. A whole older version
// of a stream can be put in place of a newer one unless associated data or a
// required context tells them apart.
//
// The format is defined in SPEC.md.
package stream
