package main

import (
	"io"
	"path/filepath"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meterDelay is how long work takes before its progress is shown. Tests change
// it.
var meterDelay = time.Second

// A meter shows progress on a terminal. A nil meter shows nothing.
type meter struct {
	container *mpb.Progress
	bar       *mpb.Bar
}

// meter returns a meter of total bytes, or of an unknown number if that is
// negative; nil when nobody is there to look at it. The caller defers stop.
func (a *app) meter(name string, total int64) *meter {
	if a.quiet || !isTerminal(a.stderr) {
		return nil
	}
	show := make(chan struct{})
	time.AfterFunc(meterDelay, func() { close(show) })
	container := mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(80), mpb.WithRenderDelay(show))
	label := mpb.PrependDecorators(decor.Name(oneLine(filepath.Base(name)) + " "))
	if total < 0 {
		return &meter{container, container.New(0, mpb.NopStyle(), label, mpb.AppendDecorators(
			decor.CurrentKibiByte("% .1f"), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f"),
		))}
	}
	return &meter{container, container.AddBar(total, label, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(
		decor.Percentage(decor.WC{W: 5}), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f"), decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 8}),
	))}
}

// stop removes the meter from the terminal.
func (m *meter) stop() {
	if m != nil {
		m.bar.Abort(true)
		m.container.Wait()
	}
}

// done shows that so many bytes are.
func (m *meter) done(n int64) {
	if m != nil {
		m.bar.SetCurrent(n)
	}
}

// reader returns r, metered.
func (m *meter) reader(r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return m.bar.ProxyReader(r)
}

// writer returns w, metered.
func (m *meter) writer(w io.Writer) io.Writer {
	if m == nil {
		return w
	}
	return m.bar.ProxyWriter(w)
}
