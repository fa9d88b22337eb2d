// Command demo shows the whole path on one machine, with nothing but Go: it starts a real S3 server and a key service,
// uploads a file encrypted, shows what the store sees, reads ranges, downloads and compares everything, and then
// damages the stored object in several ways.
//
//	go run -C e2e ./demo [-size bytes] [file]
//
// Without a file it makes one of 1 GiB. It writes below the directory for temporary files only, and removes what it
// wrote. It exits with 1 when anything is not as it says, and with 130 when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/bulla-format/bulla/e2e/s3server"
)

func main() {
	s3server.RunChild() // the S3 server is this program in a second process
	size := flag.Int64("size", 1<<30, "`bytes` of the file to make")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: demo [-size bytes] [file]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || *size < 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Stdout, os.Stderr, flag.Arg(0), *size)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; everything it wrote has been removed")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// errChecks is the result of a demo in which something was not as it said.
var errChecks = errors.New("not everything was as it should be, see the lines marked FAILED")

// run is the whole demo. Everything that it starts or writes is gone when it returns.
func run(ctx context.Context, stdout, stderr io.Writer, name string, size int64) (err error) {
	d := &demo{screen: screen{out: stdout, err: stderr}}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.start(ctx, name, size); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{d.upload, d.lookAtStore, d.readRanges, d.download, d.damage, d.disableKey} {
		if err := step(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	d.summary()
	if d.failed > 0 {
		return errChecks
	}
	return nil
}
