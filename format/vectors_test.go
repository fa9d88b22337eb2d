package format_test

import (
	"errors"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
)

func TestSizeVectors(t *testing.T) {
	tables := vectors.Sizes(t)
	for _, v := range tables.Sizes {
		l := layout(t, v.P, v.K)
		if got, err := l.StoredSize(v.Plaintext); got != v.Stored || err != nil {
			t.Errorf("%+v: stored size %d, %v", v, got, err)
		}
		if got, err := l.PlaintextSize(v.Stored); got != v.Plaintext || err != nil {
			t.Errorf("%+v: plaintext size %d, %v", v, got, err)
		}
	}
	for _, v := range tables.Invalid {
		if got, err := layout(t, v.P, v.K).PlaintextSize(v.Stored); !errors.Is(err, format.ErrSize) {
			t.Errorf("%+v: plaintext size %d, %v", v, got, err)
		}
	}
	for _, v := range tables.TooLarge {
		if got, err := layout(t, v.P, v.K).StoredSize(v.Plaintext); !errors.Is(err, format.ErrSize) {
			t.Errorf("%+v: stored size %d, %v", v, got, err)
		}
	}
	for _, v := range tables.Ranges {
		l := layout(t, v.P, v.K)
		first, end, err := l.SegmentRange(v.From, v.To-v.From)
		if err != nil || first != v.First || end != v.End {
			t.Errorf("%+v: segments %d to %d, %v", v, first, end, err)
		}
		if start, stop := l.StoredRange(first, end, v.Size); start != v.Start || stop != v.Stop {
			t.Errorf("%+v: stored %d to %d", v, start, stop)
		}
	}
}
