package limits

import (
	"slices"
	"testing"
	"time"
)

// Rounds and products of one step of AES-256-GCM.
const (
	roundsPerStep   = 14
	productsPerStep = 3
)

// A measurement is what one loop costs, in cycles, and the clock beside it.
type measurement struct {
	cycles float64 // per iteration
	hertz  float64
}

// duration is how long chain and loop run in turn.
const duration = 100 * time.Microsecond

// once compares a loop with the chain.
func once(run func(int), n, chained int) measurement {
	start := time.Now()
	chain(chained)
	middle := time.Now()
	run(n)
	end := time.Now()
	cycle := middle.Sub(start).Seconds() / float64(chained*chainLength)
	return measurement{end.Sub(middle).Seconds() / float64(n) / cycle, 1 / cycle}
}

// iterations returns how many iterations take about as long as duration.
func iterations(run func(int)) int {
	n := 1000
	for {
		start := time.Now()
		run(n)
		if d := time.Since(start); d > duration/4 {
			return max(1, int(float64(n)*float64(duration)/float64(d)))
		}
		n *= 2
	}
}

// median repeats once as often as more says, and returns the medians.
func median(run func(int), more func() bool) measurement {
	n, chained := iterations(run), iterations(chain)
	once(run, n, chained)
	var cycles, hertz []float64
	for more() {
		m := once(run, n, chained)
		cycles, hertz = append(cycles, m.cycles), append(hertz, m.hertz)
	}
	slices.Sort(cycles)
	slices.Sort(hertz)
	return measurement{cycles[len(cycles)/2], hertz[len(hertz)/2]}
}

// times returns a condition that holds n times.
func times(n int) func() bool {
	return func() bool { n--; return n >= 0 }
}

// overlap is 1 if a step costs as much as the dearer of its two kinds of
// instructions, 0 if it costs as much as both one after the other. All in
// cycles.
func overlap(round, product, step float64) float64 {
	rounds, products := roundsPerStep*round, productsPerStep*product
	return (rounds + products - step) / min(rounds, products)
}

// bound is bytes a second for steps of so many cycles and bytes.
func bound(step, hertz float64, bytes int) float64 { return float64(bytes) * hertz / step }

func BenchmarkLimits(b *testing.B) {
	for _, w := range widths() {
		if !w.has {
			continue
		}
		alone := map[string]float64{} // cycles of an instruction
		for _, l := range w.loops {
			b.Run("instr="+l.instr+"/width="+w.name, func(b *testing.B) {
				m := median(l.run, b.Loop)
				alone[l.instr] = m.cycles / float64(l.count)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(alone[l.instr], "cycles/instr")
				b.ReportMetric(m.hertz/1e9, "GHz")
				if l.steps == 0 {
					return
				}
				step := m.cycles / float64(l.steps)
				b.ReportMetric(step, "cycles/step")
				b.ReportMetric(bound(step, m.hertz, w.bytes)/1e6, "MB/s")
				if round, product := alone["VAESENC"], alone["VPCLMULQDQ"]; round > 0 && product > 0 {
					b.ReportMetric(overlap(round, product, step), "overlap")
				}
			})
		}
	}
}

func TestArithmetic(t *testing.T) {
	for _, c := range []struct{ round, product, step, overlap float64 }{
		{1, 2, 20, 0},   // 14 + 6: one after the other
		{1, 2, 14, 1},   // the products beside the rounds
		{.5, 2, 7, 1},   // 7 and 6
		{.5, 2, 10, .5}, // half of the products beside the rounds
		{.5, 4, 12, 1},  // the rounds beside the products
	} {
		if got := overlap(c.round, c.product, c.step); got != c.overlap {
			t.Errorf("overlap(%v, %v, %v) = %v, expected %v", c.round, c.product, c.step, got, c.overlap)
		}
	}
	if got := bound(20, 4e9, 64); got != 12.8e9 {
		t.Errorf("bound: %v", got)
	}
}

// TestLoops runs every loop that this CPU has. That it does n iterations shows
// in time: twice as many take longer by half at least.
func TestLoops(t *testing.T) {
	ran := 0
	for _, w := range widths() {
		if !w.has {
			continue
		}
		for _, l := range append(w.loops, loop{instr: "chain", run: chain}) {
			ran++
			n := iterations(l.run)
			m := median(l.run, times(5))
			ratio := fastest(l.run, 2*n) / fastest(l.run, n)
			if m.cycles <= 0 || ratio < 1.5 {
				t.Errorf("%s %s: %v cycles, ratio %.2f", l.instr, w.name, m.cycles, ratio)
			}
		}
	}
	if ran == 0 {
		t.Skip("this CPU has no instructions for AES and carry-less products")
	}
}

// fastest is the shortest of some runs, in seconds.
func fastest(run func(int), n int) float64 {
	var all []float64
	for range 20 {
		start := time.Now()
		run(n)
		all = append(all, time.Since(start).Seconds())
	}
	return slices.Min(all)
}
