package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Size of a plot, and of its letters.
const (
	width     = 8.5 * vg.Inch
	height    = 5.2 * vg.Inch
	dpi       = 160
	titleSize = 13
	textSize  = 10
	noteSize  = 8
)

// plots returns all plots, in both formats, by file name.
func plots(r *results) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, p := range map[string]*figure{
		"encrypt":     sizeFigure(r, "Encrypt"),
		"decrypt":     sizeFigure(r, "Decrypt"),
		"allocations": allocationFigure(r),
		"segments":    segmentFigure(r),
	} {
		if p == nil {
			continue
		}
		svg := vgsvg.New(width, height)
		p.draw(draw.New(svg), r.note())
		png := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
		p.draw(draw.New(png), r.note())
		var s, b bytes.Buffer
		if _, err := svg.WriteTo(&s); err != nil {
			return nil, err
		}
		if _, err := (vgimg.PngCanvas{Canvas: png}).WriteTo(&b); err != nil {
			return nil, err
		}
		// The fonts that stand in elsewhere have letters of the same widths.
		files[name+".svg"] = bytes.ReplaceAll(s.Bytes(), []byte("font-family:Liberation Sans;"),
			[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
		files[name+".png"] = b.Bytes()
	}
	return files, nil
}

// note is the two lines below each plot.
func (r *results) note() [2]string {
	c := r.config
	return [2]string{
		fmt.Sprintf("%s: %s", c["machine"], c["features"]),
		fmt.Sprintf("kernel %s, %s on %s/%s, commit %s, %s", c["kernel"], c["go"], c["goos"], c["goarch"], c["commit"], c["date"]),
	}
}

// A figure is a plot with room for labels at its right.
type figure struct {
	*plot.Plot
	labels vg.Length // width of that room
}

func newFigure(title, x, y string) *figure {
	p := plot.New()
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	for style, size := range map[*text.Style]vg.Length{
		&p.Title.TextStyle: titleSize, &p.X.Label.TextStyle: textSize, &p.Y.Label.TextStyle: textSize,
		&p.X.Tick.Label: textSize, &p.Y.Tick.Label: textSize,
	} {
		style.Font = font.From(sans, size)
	}
	p.Title.Padding = 8
	p.X.Padding, p.Y.Padding = 4, 4
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{225}
	p.Add(grid)
	return &figure{Plot: p, labels: 150}
}

func (f *figure) draw(c draw.Canvas, note [2]string) {
	c.FillPolygon(color.White, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
	style := labelStyle(noteSize, color.Gray{100})
	for i, line := range note {
		c.FillText(style, vg.Point{X: c.Min.X + 8, Y: c.Min.Y + 16 - 11*vg.Length(i)}, line)
	}
	f.Draw(draw.Crop(c, 6, -6-f.labels, 32, -6))
}

func labelStyle(size vg.Length, c color.Color) text.Style {
	return text.Style{
		Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size), Color: c, Handler: plot.DefaultTextHandler,
	}
}

// A look is how a line is drawn. The colours are those of Okabe and Ito, which
// the colour-blind tell apart; shapes and dashes say the same once more. Bulla
// has the blue ones, and thick lines.
type look struct {
	color  color.Color
	width  vg.Length
	dashes []vg.Length
	shape  draw.GlyphDrawer
}

var (
	blue      = color.RGBA{0, 114, 178, 255}
	sky       = color.RGBA{86, 180, 233, 255}
	orange    = color.RGBA{213, 94, 0, 255}
	yellow    = color.RGBA{230, 159, 0, 255}
	green     = color.RGBA{0, 158, 115, 255}
	pink      = color.RGBA{204, 121, 167, 255}
	black     = color.RGBA{0, 0, 0, 255}
	gray      = color.RGBA{120, 120, 120, 255}
	shortDash = []vg.Length{2, 2}
	longDash  = []vg.Length{6, 3}
)

func lookOf(implementation string) look {
	chacha := value(implementation, "suite") == "chacha20poly1305"
	switch impl := value(implementation, "impl"); {
	case impl == "bulla" && !chacha:
		return look{blue, 3, nil, draw.CircleGlyph{}}
	case impl == "bulla":
		return look{sky, 3, nil, draw.CircleGlyph{}}
	case impl == "bulla-std":
		return look{blue, 2, longDash, draw.CircleGlyph{}}
	case isKernel(impl):
		return look{blue, 2, shortDash, draw.SquareGlyph{}}
	case impl == "raw":
		return look{black, 1, shortDash, draw.CrossGlyph{}}
	case impl == "sio":
		return look{orange, 1.2, nil, draw.TriangleGlyph{}}
	case impl == "sio-go":
		return look{orange, 1.2, longDash, draw.PyramidGlyph{}}
	case impl == "tink-1MB":
		return look{green, 1.2, nil, draw.SquareGlyph{}}
	case impl == "tink-4KB":
		return look{green, 1.2, longDash, draw.BoxGlyph{}}
	case impl == "age":
		return look{pink, 1.2, nil, draw.TriangleGlyph{}}
	case impl == "rclone":
		return look{yellow, 1.2, nil, draw.SquareGlyph{}}
	}
	return look{gray, 1.2, nil, draw.PlusGlyph{}}
}

// A series is a line and its name.
type series struct {
	name   string
	look   look
	points plotter.XYs
}

// lines adds series whose names stand at their right ends.
func (f *figure) lines(all []series) error {
	top := 0.0
	for _, s := range all {
		l, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		l.LineStyle = draw.LineStyle{Color: s.look.color, Width: s.look.width, Dashes: s.look.dashes}
		points.GlyphStyle = draw.GlyphStyle{Color: s.look.color, Radius: 2 + s.look.width/2, Shape: s.look.shape}
		f.Add(l, points)
		for _, p := range s.points {
			top = max(top, p.Y)
		}
	}
	f.Y.Min, f.Y.Max = 0, 1.05*top
	f.Y.Tick.Marker = thousands(top)
	f.Add(ends(all))
	return nil
}

// thousands are ticks at multiples of 1000, 2000, 5000, ..., ten at most.
func thousands(top float64) plot.ConstantTicks {
	step := 1000.0
	for i := 0; top/step > 10; i++ {
		step *= []float64{2, 2.5, 2}[i%3]
	}
	var ticks plot.ConstantTicks
	for y := 0.0; y <= 1.05*top; y += step {
		ticks = append(ticks, plot.Tick{Value: y, Label: fmt.Sprintf("%.0f", y)})
	}
	return ticks
}

// ends writes the names of series at their right ends, in their colours, moved
// apart where they would overlap, with a thin line from end to name.
type ends []series

func (e ends) Plot(c draw.Canvas, p *plot.Plot) {
	trX, trY := p.Transforms(&c)
	const gap = textSize + 3
	type end struct {
		series
		from, to vg.Length
	}
	var all []end
	for _, s := range e {
		y := trY(s.points[len(s.points)-1].Y)
		all = append(all, end{s, y, y})
	}
	slices.SortFunc(all, func(a, b end) int { return cmp.Compare(a.from, b.from) })
	for i := range all { // up, each clear of the one below
		low := c.Min.Y
		if i > 0 {
			low = all[i-1].to + gap
		}
		all[i].to = max(all[i].to, low)
	}
	for i := len(all) - 1; i >= 0; i-- { // and down again, from the top edge
		high := c.Max.Y
		if i < len(all)-1 {
			high = all[i+1].to - gap
		}
		all[i].to = min(all[i].to, high)
	}
	for _, a := range all {
		x := trX(a.points[len(a.points)-1].X)
		c.StrokeLines(draw.LineStyle{Color: color.Gray{190}, Width: .5},
			[]vg.Point{{X: x + 5, Y: a.from}, {X: c.Max.X + 12, Y: a.to}, {X: c.Max.X + 16, Y: a.to}})
		style := labelStyle(textSize, a.look.color)
		style.YAlign = text.YCenter
		c.FillText(style, vg.Point{X: c.Max.X + 19, Y: a.to}, a.name)
	}
}

// logX makes the horizontal axis logarithmic, with these sizes in bytes as
// ticks.
func (f *figure) logX(sizes []float64, names []string) {
	f.X.Scale = plot.LogScale{}
	ticks := plot.ConstantTicks{}
	for i, s := range sizes {
		ticks = append(ticks, plot.Tick{Value: s, Label: names[i]})
	}
	f.X.Tick.Marker = ticks
	f.X.Min, f.X.Max = slices.Min(sizes), slices.Max(sizes)
}

func sizeFigure(r *results, bench string) *figure {
	f := newFigure(bench+"ing a stream in memory, one core", "plaintext", "MB/s")
	f.labels = 195
	var sizes []float64
	var names []string
	for _, s := range r.sizes() {
		sizes, names = append(sizes, bytesOf(value(s, "size"))), append(names, bare(s))
	}
	if len(sizes) == 0 {
		return nil
	}
	f.logX(sizes, names)
	var all []series
	for _, im := range r.implementations(bench) {
		if im == "impl=sio/suite=chacha20poly1305" || im == "impl=sio-go/suite=chacha20poly1305" {
			continue // in the tables
		}
		s := series{name: label(im), look: lookOf(im)}
		for i, size := range r.sizes() {
			if v, ok := r.median(bench+"/"+im+"/"+size, "B/s"); ok {
				s.points = append(s.points, plotter.XY{X: sizes[i], Y: v / 1e6})
			}
		}
		if len(s.points) > 0 {
			all = append(all, s)
		}
	}
	if f.lines(all) != nil {
		return nil
	}
	return f
}

func segmentFigure(r *results) *figure {
	f := newFigure("Bulla by segment size, 64 MiB, one core", "segment", "MB/s")
	var sizes []float64
	var names []string
	segments := r.fields("SegmentSize", "segment")
	for _, s := range segments {
		sizes, names = append(sizes, bytesOf(value(s, "segment"))), append(names, bare(s))
	}
	if len(sizes) == 0 {
		return nil
	}
	f.logX(sizes, names)
	var all []series
	for _, op := range []string{"encrypt", "decrypt"} {
		for _, suite := range []string{"aes256gcm", "chacha20poly1305"} {
			s := series{name: op + ", " + suiteLabel(suite), look: lookOf("impl=bulla/suite=" + suite)}
			if op == "decrypt" {
				s.look.dashes, s.look.shape = longDash, draw.SquareGlyph{}
			}
			for i, segment := range segments {
				if v, ok := r.median(fmt.Sprintf("SegmentSize/op=%s/impl=bulla/suite=%s/%s", op, suite, segment), "B/s"); ok {
					s.points = append(s.points, plotter.XY{X: sizes[i], Y: v / 1e6})
				}
			}
			if len(s.points) > 0 {
				all = append(all, s)
			}
		}
	}
	if f.lines(all) != nil {
		return nil
	}
	return f
}
