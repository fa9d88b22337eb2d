package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// An lsJob is what ls was asked to do.
type lsJob struct {
	place     string
	long      bool
	recursive bool
	store     s3Flags
	aws       awsFlags
}

func (a *app) lsCommand() *cobra.Command {
	var j lsJob
	cmd := &cobra.Command{
		Use:   "ls s3://BUCKET[/PREFIX]",
		Short: "List encrypted objects, with the sizes of their plaintext",
		Long: `List what is stored under a prefix: when it was changed (UTC), the size of its
plaintext, its key. An object and the header beside it are one line. No key is
needed, and nothing is authenticated.

The sizes are computed from what the store tells, as if each object were a stream
with the default segment size: hence the ~, and - where no stream has that size.
--long reads the headers, with a request for each object, and then also shows the
stored size, the generation of the header, and whom the stream is for; and what
is not a stream, or has lost its header, or has that of another object.`,
		Example: `  bulla ls s3://bucket
  bulla ls --long s3://bucket/2026/
  bulla ls --recursive --long s3://bucket | grep 'for .*"old"'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.place = args[0]
			return a.ls(cmd.Context(), &j)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&j.long, "long", "l", false, "read the headers")
	flags.BoolVarP(&j.recursive, "recursive", "R", false, "list what is in directories too")
	j.store.register(flags)
	j.aws.register(flags)
	return cmd
}

func (a *app) ls(ctx context.Context, j *lsJob) error {
	at, err := parsePrefix(j.place)
	if err != nil {
		return err
	}
	client, err := j.store.client(ctx, &j.aws)
	if err != nil {
		return err
	}
	in := &s3.ListObjectsV2Input{Bucket: &at.bucket, Prefix: &at.key}
	if !j.recursive {
		in.Delimiter = aws.String("/")
	}
	for e, err := range s3download.List(ctx, client, in, &s3download.ListOptions{HeaderSuffix: j.store.headerSuffix, Headers: j.long}) {
		if err != nil {
			return err
		}
		if err := printEntry(a.stdout, &e, j.long); err != nil {
			return err
		}
	}
	return nil
}

// printEntry prints a line. What is not known is -.
func printEntry(w io.Writer, e *s3download.Entry, long bool) error {
	changed, size, stored, generation, remark := "-", "-", "-", "-", ""
	switch {
	case e.Object != nil:
		if e.Object.LastModified != nil {
			changed = e.Object.LastModified.UTC().Format(time.DateTime)
		}
		stored = strconv.FormatInt(aws.ToInt64(e.Object.Size), 10)
	case e.Header != nil:
		remark = "only the header: the object is gone"
	default:
		size = "DIR"
	}
	if e.PlaintextSize != format.UnknownSize && e.Object != nil {
		size = strconv.FormatInt(e.PlaintextSize, 10)
		if e.Info == nil {
			size = "~" + size
		}
	}
	switch {
	case e.Info != nil:
		generation, remark = fmt.Sprint(e.Info.Generation), "for "+keyList(e.Info.Keys)
	case e.Err != nil:
		remark = entryError(e.Err)
	}
	line := fmt.Sprintf("%-19s %15s  %s", changed, size, printable(e.Key))
	if long {
		line = fmt.Sprintf("%-19s %15s %15s %3s  %s", changed, size, stored, generation, printable(e.Key))
	}
	_, err := fmt.Fprintln(w, line+prefixed("  ", remark))
	return err
}

// entryError says in short what is wrong with an object.
func entryError(err error) string {
	switch {
	case errors.Is(err, format.ErrNotStream):
		return "not encrypted"
	case errors.Is(err, s3download.ErrNoHeader):
		return "the header is missing"
	case errors.Is(err, stream.ErrAuth):
		return "the header beside it is that of another object"
	}
	return oneLine(err.Error())
}

// printable quotes what would garble a terminal.
func printable(key string) string {
	if strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(key)
	}
	return key
}
