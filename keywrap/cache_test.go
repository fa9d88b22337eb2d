package keywrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulla-format/bulla/format"
)

// A service generates and unwraps data keys that count up, and counts.
type service struct {
	calls atomic.Int64
	fail  func(n int64) error // of the n-th call, from 1; nil: none
}

func (s *service) next() ([]byte, error) {
	n := s.calls.Add(1)
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return nil, err
		}
	}
	return bytes.Repeat([]byte{byte(n)}, DataKeySize), nil
}

func (s *service) GenerateKey(context.Context, Context) ([]byte, []format.WrappedKey, error) {
	dataKey, err := s.next()
	if err != nil {
		return nil, nil, err
	}
	return dataKey, []format.WrappedKey{{Type: 0xF000, Name: "service", Data: bytes.Clone(dataKey[:1])}}, nil
}

func (s *service) WrapKey(context.Context, []byte, Context) ([]format.WrappedKey, error) {
	s.calls.Add(1)
	return []format.WrappedKey{{Type: 0xF000}}, nil
}

func (s *service) UnwrapKey(context.Context, format.WrappedKey, Context) ([]byte, error) {
	return s.next()
}

func newWrapperCache(t *testing.T, s *service, o *CacheOptions) *WrapperCache {
	t.Helper()
	c, err := NewWrapperCache(s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newUnwrapperCache(t *testing.T, s *service, o *CacheOptions) *UnwrapperCache {
	t.Helper()
	c, err := NewUnwrapperCache(s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// generate returns the number of the call that the data key comes from.
func generate(t *testing.T, ctx context.Context, c *WrapperCache, ec Context) int {
	t.Helper()
	dataKey, keys, err := c.GenerateKey(ctx, ec)
	if err != nil {
		t.Fatal(err)
	}
	if len(dataKey) != DataKeySize || len(keys) != 1 || !bytes.Equal(keys[0].Data, dataKey[:1]) {
		t.Fatalf("data key % x, wrapped keys %v", dataKey, keys)
	}
	return int(dataKey[0])
}

func checkStats(t *testing.T, got, want CacheStats) {
	t.Helper()
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCacheOptions(t *testing.T) {
	for _, o := range []CacheOptions{{MaxAge: -1}, {MaxStreams: -1}, {MaxBytes: -1}, {MaxEntries: -1}} {
		if c, err := NewWrapperCache(&service{}, &o); err == nil || c != nil {
			t.Errorf("%+v was taken", o)
		}
		if c, err := NewUnwrapperCache(&service{}, &o); err == nil || c != nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if c, err := NewUnwrapperCache(&service{}, &CacheOptions{MaxBytes: 1}); err == nil || c != nil {
		t.Error("a bound of bytes was taken for reading")
	}
	want := CacheOptions{MaxAge: 5 * time.Minute, MaxStreams: 1000, MaxEntries: 1000}
	for _, o := range []*CacheOptions{nil, {}} {
		if c := newWrapperCache(t, &service{}, o); c.cache.limits != want {
			t.Errorf("defaults %+v", c.cache.limits)
		}
	}
}

func TestCacheStreams(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, 20, 21, 1000} {
		s := &service{}
		c := newWrapperCache(t, s, &CacheOptions{MaxStreams: limit})
		for i := range 20 {
			if got, want := generate(t, t.Context(), c, nil), i/limit+1; got != want {
				t.Fatalf("limit %d: stream %d has data key %d, want %d", limit, i, got, want)
			}
		}
		calls := int64((20 + limit - 1) / limit)
		entries := 1
		if 20%limit == 0 {
			entries = 0
		}
		checkStats(t, c.Stats(), CacheStats{Hits: 20 - calls, Misses: calls, Calls: calls, Entries: entries})

		u := newUnwrapperCache(t, &service{}, &CacheOptions{MaxStreams: limit})
		for i := range 20 {
			dataKey, err := u.UnwrapKey(t.Context(), format.WrappedKey{Type: 1, Data: []byte{1}}, nil)
			if want := i/limit + 1; err != nil || int(dataKey[0]) != want {
				t.Fatalf("limit %d: stream %d has data key %d, want %d", limit, i, dataKey, want)
			}
		}
		checkStats(t, u.Stats(), CacheStats{Hits: 20 - calls, Misses: calls, Calls: calls, Entries: entries})
	}
}

func TestCacheBytes(t *testing.T) {
	s := &service{}
	c := newWrapperCache(t, s, &CacheOptions{MaxBytes: 100})
	for i, step := range []struct {
		size             int64
		dataKey, entries int
	}{
		{-1, 1, 0}, // not known: a data key of its own
		{101, 2, 0},
		{1 << 40, 3, 0},
		{60, 4, 1},
		{40, 4, 1},
		{0, 4, 1},
		{1, 5, 1},  // nothing was left: this one has replaced it
		{99, 5, 1}, // exactly to the limit
		{50, 6, 1},
		{51, 7, 1}, // leaves less than there is, and is not kept
		{50, 6, 1},
		{100, 8, 1},
		{0, 8, 1}, // which has replaced the one with as little left
	} {
		got := generate(t, WithPlaintextSize(t.Context(), step.size), c, nil)
		if got != step.dataKey || c.Stats().Entries != step.entries {
			t.Errorf("step %d, size %d: data key %d, want %d; %+v", i, step.size, got, step.dataKey, c.Stats())
		}
	}
	before := s.calls.Load()
	generate(t, t.Context(), c, nil)
	generate(t, t.Context(), c, nil)
	if s.calls.Load() != before+2 {
		t.Error("streams whose size nobody told share a data key")
	}

	c = newWrapperCache(t, &service{}, nil) // no bound: sizes do not matter
	for _, size := range []int64{-1, 0, 1 << 62, 1 << 62, 1 << 62} {
		if got := generate(t, WithPlaintextSize(t.Context(), size), c, nil); got != 1 {
			t.Errorf("data key %d", got)
		}
	}
}

// entriesOf returns the data keys that the cache holds, not copies of them.
func entriesOf(c *dataKeys) (all [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.recent.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*entry).dataKey)
	}
	return all
}

func checkCleared(t *testing.T, dataKeys ...[]byte) {
	t.Helper()
	for _, k := range dataKeys {
		if !bytes.Equal(k, make([]byte, DataKeySize)) {
			t.Errorf("a data key is still there: % x", k)
		}
	}
}

// TestCacheAge has the keys expire: asked for, and while nobody asks.
func TestCacheAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		c := newWrapperCache(t, s, &CacheOptions{MaxAge: time.Minute})
		generate(t, t.Context(), c, nil)
		held := entriesOf(&c.cache)
		time.Sleep(time.Minute - time.Nanosecond)
		if got := generate(t, t.Context(), c, nil); got != 1 {
			t.Errorf("data key %d before it expired", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		checkStats(t, c.Stats(), CacheStats{Hits: 1, Misses: 1, Calls: 1})
		checkCleared(t, held...)
		if got := generate(t, t.Context(), c, nil); got != 2 {
			t.Errorf("data key %d after it expired", got)
		}

		// A late timer does not lengthen a data key's life.
		element := c.cache.entries[string(appendContext(nil, nil))]
		element.Value.(*entry).timer.Stop()
		time.Sleep(time.Minute)
		held = entriesOf(&c.cache)
		if got := generate(t, t.Context(), c, nil); got != 3 {
			t.Errorf("data key %d after it expired", got)
		}
		checkCleared(t, held...)
		c.cache.expire(element) // the late timer, which is not for the entry that is there now
		checkStats(t, c.Stats(), CacheStats{Hits: 1, Misses: 3, Calls: 3, Entries: 1})

		// Time is counted from before the call.
		s.fail = func(int64) error { time.Sleep(time.Minute); return nil }
		got := generate(t, t.Context(), c, Context{"a": ""})
		synctest.Wait() // for the timer of the one before
		if got != 4 || c.Stats().Entries != 0 {
			t.Errorf("data key %d, %+v", got, c.Stats())
		}
	})
}

func TestCacheEntries(t *testing.T) {
	c := newWrapperCache(t, &service{}, &CacheOptions{MaxEntries: 3})
	ec := func(i int) Context { return Context{"i": fmt.Sprint(i)} }
	for i := range 3 {
		generate(t, t.Context(), c, ec(i))
	}
	held := entriesOf(&c.cache)
	generate(t, t.Context(), c, ec(0)) // used again: 1 is now the one not used for longest
	generate(t, t.Context(), c, ec(3))
	checkCleared(t, held[1])
	for i, want := range map[int]int{0: 1, 2: 3, 3: 4} {
		if got := generate(t, t.Context(), c, ec(i)); got != want {
			t.Errorf("context %d: data key %d, want %d", i, got, want)
		}
	}
	if got := generate(t, t.Context(), c, ec(1)); got != 5 || c.Stats().Entries != 3 {
		t.Errorf("data key %d, %+v", got, c.Stats())
	}
}

func TestCacheClose(t *testing.T) {
	c := newWrapperCache(t, &service{}, nil)
	for i := range 5 {
		generate(t, t.Context(), c, Context{"i": fmt.Sprint(i)})
	}
	held := entriesOf(&c.cache)
	c.Close()
	c.Close()
	checkCleared(t, held...)
	if len(held) != 5 {
		t.Errorf("%d entries", len(held))
	}
	for want := range 3 {
		if got := generate(t, t.Context(), c, nil); got != 6+want || c.Stats().Entries != 0 {
			t.Errorf("after Close: data key %d, %+v", got, c.Stats())
		}
	}

	u := newUnwrapperCache(t, &service{}, nil)
	for range 2 {
		if _, err := u.UnwrapKey(t.Context(), format.WrappedKey{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	held = entriesOf(&u.cache)
	u.Close()
	checkCleared(t, held...)
	checkStats(t, u.Stats(), CacheStats{Hits: 1, Misses: 1, Calls: 1})
}

// TestCacheCloseDuringCall closes the cache while a call is under way.
func TestCacheCloseDuringCall(t *testing.T) {
	var c *WrapperCache
	c = newWrapperCache(t, &service{fail: func(int64) error { c.Close(); return nil }}, nil)
	if got := generate(t, t.Context(), c, nil); got != 1 {
		t.Errorf("data key %d", got)
	}
	checkStats(t, c.Stats(), CacheStats{Misses: 1, Calls: 1})
}

// TestCacheIDs has every part of a question differ in turn, and parts that
// read the same one after the other.
func TestCacheIDs(t *testing.T) {
	contexts := []Context{
		nil,
		{"": ""},
		{"a": ""},
		{"": "a"},
		{"a": "b"},
		{"A": "b"},
		{"a": "B"},
		{"ab": ""},
		{"a": "b", "c": "d"},
		{"a": "d", "c": "b"},
		{"a": "bcd"},
		{"a": "b\x00\x00\x00\x00\x00\x00\x00\x01c\x00\x00\x00\x00\x00\x00\x00\x01d"},
		{"a": "", "b": "\x00\x00\x00\x00\x00\x00\x00\x01bx"},
		{"a": "\x00\x00\x00\x00\x00\x00\x00\x01b", "b": "x"},
	}
	s := &service{}
	c := newWrapperCache(t, s, nil)
	for range 2 {
		for i, ec := range contexts {
			if got := generate(t, t.Context(), c, ec); got != i+1 {
				t.Errorf("%q: data key %d, want %d", ec, got, i+1)
			}
		}
	}
	if got := generate(t, t.Context(), c, Context{}); got != 1 {
		t.Errorf("the empty context is not nil's: %d", got)
	}

	u, want := newUnwrapperCache(t, &service{}, nil), int64(0)
	for _, kind := range []format.KeyType{1, 3} {
		for _, name := range []string{"", "a", "ab"} {
			for _, data := range []string{"b", "bc", "c", "", "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"} {
				for _, ec := range contexts {
					want++
					for range 2 {
						_, err := u.UnwrapKey(t.Context(), format.WrappedKey{Type: kind, Name: name, Data: []byte(data)}, ec)
						if got := u.Stats().Calls; err != nil || got != want {
							t.Fatalf("%v %q %q %q: %d calls, want %d", kind, name, data, ec, got, want)
						}
					}
				}
			}
		}
	}
}

// TestCacheCopies changes everything that callers were given.
func TestCacheCopies(t *testing.T) {
	c, u := newWrapperCache(t, &service{}, nil), newUnwrapperCache(t, &service{}, nil)
	for range 3 {
		dataKey, keys, err := c.GenerateKey(t.Context(), nil)
		if err != nil || dataKey[0] != 1 || keys[0].Data[0] != 1 || keys[0].Name != "service" {
			t.Fatalf("% x, %v, %v", dataKey, keys, err)
		}
		clear(dataKey)
		clear(keys[0].Data)
		clear(keys)
		if dataKey, err = u.UnwrapKey(t.Context(), format.WrappedKey{}, nil); err != nil || dataKey[0] != 1 {
			t.Fatalf("% x, %v", dataKey, err)
		}
		clear(dataKey)
	}
}

func TestCacheFailures(t *testing.T) {
	failure := errors.New("not now")
	s := &service{fail: func(n int64) error {
		if n < 3 {
			return failure
		}
		return nil
	}}
	c := newWrapperCache(t, s, nil)
	for range 2 {
		if dataKey, keys, err := c.GenerateKey(t.Context(), nil); !errors.Is(err, failure) || dataKey != nil || keys != nil {
			t.Errorf("%v", err)
		}
	}
	if got := generate(t, t.Context(), c, nil); got != 3 {
		t.Errorf("data key %d", got)
	}
	generate(t, t.Context(), c, nil)
	checkStats(t, c.Stats(), CacheStats{Hits: 1, Misses: 3, Calls: 3, Entries: 1})

	u := newUnwrapperCache(t, &service{fail: func(int64) error { return ErrNoMatch }}, nil)
	for range 2 {
		if _, err := u.UnwrapKey(t.Context(), format.WrappedKey{}, nil); !errors.Is(err, ErrNoMatch) {
			t.Errorf("%v", err)
		}
	}
	checkStats(t, u.Stats(), CacheStats{Misses: 2, Calls: 2})

	// What is not a data key is not kept.
	wrong := newUnwrapperCache(t, nil, nil)
	calls := 0
	wrong.unwrapper = unwrapFunc(func() ([]byte, error) { calls++; return make([]byte, 16), nil })
	for range 2 {
		if got, err := wrong.UnwrapKey(t.Context(), format.WrappedKey{}, nil); err != nil || len(got) != 16 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

type unwrapFunc func() ([]byte, error)

func (f unwrapFunc) UnwrapKey(context.Context, format.WrappedKey, Context) ([]byte, error) {
	return f()
}

// TestCacheSharesCalls has many callers miss at once.
func TestCacheSharesCalls(t *testing.T) {
	for _, limit := range []int{2, 8, 20} {
		for _, failing := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				failure := errors.New("not now")
				s := &service{fail: func(int64) error {
					time.Sleep(time.Second) // until all the others wait
					if failing {
						return failure
					}
					return nil
				}}
				c := newWrapperCache(t, s, &CacheOptions{MaxStreams: limit})
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						dataKey, _, err := c.GenerateKey(t.Context(), nil)
						if failing && !errors.Is(err, failure) || !failing && (err != nil || dataKey[0] == 0) {
							t.Errorf("%v", err)
						}
					})
				}
				wg.Wait()
				want := CacheStats{Misses: 20, Calls: 1}
				if !failing {
					calls := int64((20 + limit - 1) / limit)
					want = CacheStats{Hits: 20 - calls, Misses: calls, Calls: calls, Entries: min(20%limit, 1)}
				}
				checkStats(t, c.Stats(), want)
				if s.calls.Load() != want.Calls {
					t.Errorf("%d calls, counted %d", s.calls.Load(), want.Calls)
				}
			})
		}
	}
}

// TestCacheClosedShares has callers of a closed cache wait for nobody.
func TestCacheClosedShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newWrapperCache(t, &service{fail: func(int64) error { time.Sleep(time.Second); return nil }}, nil)
		c.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, _, err := c.GenerateKey(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		checkStats(t, c.Stats(), CacheStats{Misses: 5, Calls: 5})
	})
}

// TestCacheCancel cancels one who waits for another's call, and then the one
// who called: neither spoils it for the others.
func TestCacheCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, cancelFirst := context.WithCancel(t.Context())
		s := &service{fail: func(n int64) error {
			if n == 1 {
				<-first.Done()
				return first.Err()
			}
			return nil
		}}
		c := newWrapperCache(t, s, nil)
		results := make(map[string]error)
		var mu sync.Mutex
		var wg sync.WaitGroup
		run := func(name string, ctx context.Context) {
			wg.Go(func() {
				_, _, err := c.GenerateKey(ctx, nil)
				mu.Lock()
				defer mu.Unlock()
				results[name] = err
			})
			synctest.Wait()
		}
		second, cancelSecond := context.WithCancel(t.Context())
		run("first", first)
		run("second", second)
		run("third", t.Context())
		cancelSecond()
		synctest.Wait()
		if len(results) != 1 || !errors.Is(results["second"], context.Canceled) {
			t.Errorf("results %v", results)
		}
		cancelFirst()
		wg.Wait()
		if !errors.Is(results["first"], context.Canceled) || results["third"] != nil {
			t.Errorf("results %v", results)
		}
		checkStats(t, c.Stats(), CacheStats{Misses: 3, Calls: 2, Entries: 1})
	})
}

// TestCachePanic has a call end without a result while another waits for it.
func TestCachePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newWrapperCache(t, &service{fail: func(n int64) error {
			if n == 1 {
				time.Sleep(time.Second)
				panic("of the service")
			}
			return nil
		}}, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _, _ = c.GenerateKey(t.Context(), nil)
		})
		synctest.Wait()
		if got := generate(t, t.Context(), c, nil); got != 2 {
			t.Errorf("data key %d", got)
		}
		wg.Wait()
	})
}

func TestCacheWrapKey(t *testing.T) {
	s := &service{}
	c := newWrapperCache(t, s, nil)
	for range 2 {
		if keys, err := c.WrapKey(t.Context(), make([]byte, DataKeySize), nil); err != nil || len(keys) != 1 {
			t.Errorf("%v, %v", keys, err)
		}
	}
	checkStats(t, c.Stats(), CacheStats{})
	if s.calls.Load() != 2 {
		t.Errorf("%d calls", s.calls.Load())
	}
}

// TestCacheConcurrent is for the race detector: everything at once.
func TestCacheConcurrent(t *testing.T) {
	c := newWrapperCache(t, &service{}, &CacheOptions{MaxAge: 100 * time.Microsecond, MaxStreams: 5, MaxEntries: 2, MaxBytes: 50})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				ctx := WithPlaintextSize(t.Context(), int64(j%13))
				dataKey, keys, err := c.GenerateKey(ctx, Context{"i": fmt.Sprint((i + j) % 3)})
				if err != nil || !bytes.Equal(dataKey, bytes.Repeat(keys[0].Data, DataKeySize)) {
					t.Errorf("% x, %v", dataKey, err)
				}
				clear(dataKey)
				if s := c.Stats(); s.Entries > 2 || s.Hits+s.Misses < s.Calls {
					t.Errorf("%+v", s)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Hits+s.Misses != 8*200 {
		t.Errorf("%+v", s)
	}
}
