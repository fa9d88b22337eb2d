package main

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg/draw"
)

// least is where the axis of allocated bytes begins, and where nothing stands.
const least = 16

// allocationFigure has a row for each implementation, with the bytes that it
// allocates for a stream of 64 MiB, and in how many pieces.
func allocationFigure(r *results) *figure {
	f := newFigure("Allocated for a stream of 64 MiB: bytes, and in how many pieces", "bytes, logarithmic", "")
	f.labels = 90
	implementations := slices.DeleteFunc(r.implementations("Encrypt"), func(im string) bool {
		return isKernel(value(im, "impl")) // allocates as Bulla does
	})
	slices.Reverse(implementations)
	var rows plot.ConstantTicks
	top := 1024.0
	for _, im := range implementations {
		y, found := float64(len(rows)), false
		for _, op := range []struct {
			bench string
			shift float64
			shape draw.GlyphDrawer
		}{{"Encrypt", .17, draw.CircleGlyph{}}, {"Decrypt", -.17, draw.SquareGlyph{}}} {
			name := op.bench + "/" + im + "/size=64MiB"
			bytes, ok := r.median(name, "B/op")
			if !ok {
				continue
			}
			count, _ := r.median(name, "allocs/op")
			found, top = true, max(top, bytes)
			f.Add(dot{max(bytes, least), y + op.shift, lookOf(im), op.shape, allocation(bytes, count)})
		}
		if found {
			rows = append(rows, plot.Tick{Value: y, Label: label(im)})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	f.logX(powers(top))
	f.X.Max = max(f.X.Max, top)
	f.Y.Tick.Marker, f.Y.Min, f.Y.Max = rows, -.6, float64(len(rows))+.2
	f.Y.Tick.LineStyle.Width, f.Y.LineStyle.Width = 0, 0
	f.Legend.Top, f.Legend.TextStyle.Font = true, font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, textSize)
	f.Legend.Add("encrypt", dot{shape: draw.CircleGlyph{}, look: look{color: black}})
	f.Legend.Add("decrypt", dot{shape: draw.SquareGlyph{}, look: look{color: black}})
	return f
}

// powers are those of 1024 up to top, and their names; the first is least.
func powers(top float64) (values []float64, names []string) {
	values, names = []float64{least}, []string{"0"}
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if v := float64(int64(1) << (10 * (i + 1))); v <= top {
			values, names = append(values, v), append(names, "1 "+unit)
		}
	}
	return values, names
}

// A dot is one point with a text at its right.
type dot struct {
	x, y  float64
	look  look
	shape draw.GlyphDrawer
	text  string
}

func (d dot) Plot(c draw.Canvas, p *plot.Plot) {
	trX, trY := p.Transforms(&c)
	at := c.Center()
	at.X, at.Y = trX(d.x), trY(d.y)
	c.DrawGlyph(draw.GlyphStyle{Color: d.look.color, Radius: 3.5, Shape: d.shape}, at)
	style := labelStyle(noteSize, color.Gray{70})
	style.YAlign = text.YCenter
	at.X += 7
	c.FillText(style, at, d.text)
}

func (d dot) Thumbnail(c *draw.Canvas) {
	c.DrawGlyph(draw.GlyphStyle{Color: d.look.color, Radius: 3.5, Shape: d.shape}, c.Center())
}

// DataRange implements plot.DataRanger.
func (d dot) DataRange() (xmin, xmax, ymin, ymax float64) { return d.x, d.x, d.y, d.y }

var _ interface {
	plot.Plotter
	plot.Thumbnailer
	plot.DataRanger
} = dot{}
