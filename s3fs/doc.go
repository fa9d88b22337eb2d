// Package s3fs shows the encrypted objects under a prefix of a bucket as a file
// system of plaintext, read-only: an [io/fs.FS] for whatever reads files, and an
// [net/http.Handler] for whoever asks over HTTP.
//
//	fsys := s3fs.New(ctx, client, "bucket", "photos", keys, nil)
//	page, err := fs.ReadFile(fsys, "2026/index.html") // s3://bucket/photos/2026/index.html
//	http.Handle("/photos/", http.StripPrefix("/photos/", s3fs.NewHandler(fsys, nil)))
//
// Every byte is authenticated before it is given out, and so is each size, for
// which the object's header is read. Names are not: the store may leave objects
// out of a directory, and answer for one object with another that the same keys
// open. Streams that are bound to their location (s3upload.Options.BindLocation)
// are refused in another place, those that are not are accepted in all.
//
// # Names
//
// The key of a file is its name behind the prefix. Directories are what keys
// have in common up to a slash; they need no object of their own, and one that
// ends in a slash only makes sure that there is a directory. Where an object has
// the name of a directory, the name means the object, and the names below it
// stay valid though no directory shows them. Keys that no valid name leads to
// (see [io/fs.ValidPath]), such as "a//b" and "../a", are not shown, nor are
// headers that stand beside their object.
package s3fs
