package main

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// A cpJob is what cp was asked to do.
type cpJob struct {
	objectJob
	stream       streamFlags
	force        bool
	contentType  string
	bindLocation bool
	inMetadata   bool
	partSize     byteSize
	memory       byteSize
	journal      string
}

// The flags of one direction, refused in the other.
var (
	uploadFlags   = []string{"journal", "memory", "content-type", "bind-location", "header-metadata", "context", "segment-size", "compact-header", "recipient", "active", "classical"}
	downloadFlags = []string{"force", "require-context", "ignore-location"}

	// Between objects, the stream stays as it is.
	objectFlags = []string{"part-size", "suite", "workers"}
)

func (a *app) cpCommand() *cobra.Command {
	var j cpJob
	cmd := &cobra.Command{
		Use:   "cp SRC DST",
		Short: "Copy between files or pipes and S3, encrypted there, and within S3",
		Long: `Copy plaintext from a file or standard input (-) to an encrypted object
s3://BUCKET/KEY, or from there to a file or standard output.

An object appears only when its upload is complete; like every upload, it
replaces the object of that name. An upload that fails or is interrupted is
aborted and leaves no parts behind, unless it has a --journal: the same command
then goes on from there, after a crash too, with the same source from its
beginning; "bulla abort" gives it up. A file appears only when the whole object
was authenticated.

Between two objects the store copies the stream as it is, with the header beside
it, to where there is none yet. No key is needed, unless the stream is bound to
its location: then the copy is bound to the new one.

The header stands in front of the object, or with --header-metadata in its user
metadata, or with --header-suffix in an object beside it: there, re-wrapping
writes no payload. Readers find it in each of these places.

Credentials, Region and endpoint come from the environment and the files of the
AWS CLI. For a store that does not know the SDK's checksums, set
AWS_REQUEST_CHECKSUM_CALCULATION=when_required.`,
		Example: `  bulla cp --key backup.key photos.tar s3://bucket/photos.tar
  bulla cp --key backup.key --journal up.journal disk.img s3://bucket/disk.img
  pg_dump db | bulla cp --kms alias/backups - s3://bucket/db.dump
  bulla cp --key backup.key s3://bucket/photos.tar photos.tar
  bulla cp --key backup.key s3://bucket/photos.tar - | tar x
  bulla cp s3://bucket/photos.tar s3://offsite/photos.tar
  bulla cp --key k --endpoint-url http://localhost:7070 --path-style a s3://b/a`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.src, j.dst = args[0], args[1]
			return a.cp(cmd.Context(), &j, cmd.Flags())
		},
	}
	flags := cmd.Flags()
	j.keys.registerRead(flags)
	j.keys.registerWrite(flags)
	j.store.register(flags)
	flags.BoolVarP(&j.force, "force", "f", false, "replace an existing file")
	flags.StringVar(&j.contentType, "content-type", "", "the object's content `TYPE`, stored in the clear")
	flags.BoolVar(&j.bindLocation, "bind-location", false, "bind the stream to s3://BUCKET/KEY: it is refused elsewhere")
	flags.BoolVar(&j.inMetadata, "header-metadata", false, "store the header in the object's user metadata")
	flags.Var(&j.partSize, "part-size", "bytes of an upload's parts, 5MiB to 5GiB, or of a download's\nrequests (default: chosen by the object's size; 8MiB)")
	flags.StringVar(&j.journal, "journal", "", "record the upload in `FILE`, and go on from it if it exists")
	flags.Var(&j.memory, "memory", "hold at most so many bytes of an upload, 16MiB or more; a pipe\ncan have 2,500 times as many (default: 128MiB for pipes)")
	flags.IntVar(&j.concurrency, "concurrency", 0, "how many `PARTS` or requests at a time (default 5; 4)")
	j.checksum.register(flags)
	j.stream.registerBoth(flags)
	j.stream.registerEncrypt(flags)
	j.stream.registerDecrypt(flags)
	j.keys.access.register(flags)
	return cmd
}

func (a *app) cp(ctx context.Context, j *cpJob, flags *pflag.FlagSet) error {
	if j.concurrency < 0 {
		return usagef("--concurrency is negative")
	}
	switch up, down := isS3(j.dst), isS3(j.src); {
	case up && down:
		if err := refuse(flags, slices.Concat(uploadFlags, downloadFlags, objectFlags), "copies between objects"); err != nil {
			return err
		}
		var err error
		if _, j.associatedData, err = j.stream.both(); err != nil {
			return err
		}
		return a.copyObject(ctx, &j.objectJob, s3upload.Copy)
	case up:
		if err := refuse(flags, downloadFlags, "uploads"); err != nil {
			return err
		}
		return a.upload(ctx, j)
	case down:
		if err := refuse(flags, slices.Concat(uploadFlags, []string{"checksum"}), "downloads"); err != nil {
			return err
		}
		return a.download(ctx, j)
	}
	return usagef(`neither %s nor %s is s3://BUCKET/KEY: use "bulla encrypt" and "bulla decrypt" for files`, j.src, j.dst)
}

func refuse(flags *pflag.FlagSet, names []string, direction string) error {
	if i := slices.IndexFunc(names, flags.Changed); i >= 0 {
		return usagef("--%s has no meaning for %s", names[i], direction)
	}
	return nil
}

func (a *app) upload(ctx context.Context, j *cpJob) error {
	at, err := parseS3(j.dst)
	if err != nil {
		return err
	}
	options, err := j.stream.encryptOptions()
	if err != nil {
		return err
	}
	keys, _, err := a.wrapper(ctx, &j.keys)
	if err != nil {
		return err
	}
	var again keywrap.Unwrapper // for a journal
	if j.journal != "" {
		if again, err = a.unwrapper(ctx, &j.keys); err != nil {
			return err
		}
	}
	client, err := j.store.client(ctx, &j.keys.access.aws)
	if err != nil {
		return err
	}
	options.ClassicalKeys = j.keys.classical
	in, err := a.open(ctx, j.src)
	if err != nil {
		return err
	}
	defer in.close()
	progress := a.meter(in.name, in.size)
	defer progress.stop()
	put := &s3.PutObjectInput{Bucket: &at.bucket, Key: &at.key, Body: progress.reader(in), ChecksumAlgorithm: types.ChecksumAlgorithm(j.checksum)}
	if in.size >= 0 {
		put.ContentLength = &in.size
	}
	if j.contentType != "" {
		put.ContentType = &j.contentType
	}
	o := &s3upload.Options{
		Encrypt: options, BindLocation: j.bindLocation, PartSize: int64(j.partSize), Concurrency: j.concurrency,
		HeaderSuffix: j.store.headerSuffix, HeaderInMetadata: j.inMetadata,
	}
	if j.memory > 0 {
		o.Budget = s3upload.NewBudget(int64(j.memory))
	}
	uploader := s3upload.New(client, keys, o)
	if j.journal != "" {
		_, err = uploader.UploadResumable(ctx, put, again, j.journal)
	} else {
		_, err = uploader.Upload(ctx, put)
	}
	switch {
	case errors.Is(err, s3upload.ErrInput):
		return usageError{err}
	case err != nil:
		return encryptError(in.name, err)
	}
	return nil
}

func (a *app) download(ctx context.Context, j *cpJob) error {
	at, err := parseS3(j.src)
	if err != nil {
		return err
	}
	options, err := j.stream.decryptOptions()
	if err != nil {
		return err
	}
	keys, err := a.unwrapper(ctx, &j.keys)
	if err != nil {
		return err
	}
	client, err := j.store.client(ctx, &j.keys.access.aws)
	if err != nil {
		return err
	}
	out, err := a.create(j.dst, j.force)
	if err != nil {
		return err
	}
	defer out.discard()
	object, err := s3download.Open(ctx, client, at.get(), keys, &s3download.Options{
		Decrypt: options, WindowSize: int64(j.partSize), Concurrency: j.concurrency, HeaderSuffix: j.store.headerSuffix,
	})
	if err != nil {
		return err
	}
	defer object.Close()
	defer context.AfterFunc(ctx, func() { object.Close() })()
	progress := a.meter(at.key, object.Size())
	defer progress.stop()
	if _, err := object.WriteTo(progress.writer(out)); err != nil {
		return err
	}
	return out.commit()
}
