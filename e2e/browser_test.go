package e2e_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3fs"
	"github.com/bulla-format/bulla/s3upload"
)

// A film of scenes, each of one color: that of scene i has much red if bit 0 of i is set, much green if bit 1 is, and
// much blue if bit 2 is.
const (
	scenes      = 8
	sceneLength = 40 // seconds

	much, little = 0xb0, 0x50
	colorError   = 0x28 // what is left of noise, coding and scaling

	filmSize = 60_000_000 // bytes, at least
)

func sceneColor(scene int) (rgb [3]int) {
	for i := range rgb {
		rgb[i] = little
		if scene>>i&1 != 0 {
			rgb[i] = much
		}
	}
	return rgb
}

// sceneOf returns the scene of the color, -1 if there is none.
func sceneOf(rgb [3]int) int {
	for scene := range scenes {
		like := true
		for i, c := range sceneColor(scene) {
			like = like && max(c-rgb[i], rgb[i]-c) <= colorError
		}
		if like {
			return scene
		}
	}
	return -1
}

// film makes the film: with noise, so that it is large, and with the index at its end, where a browser must look first.
func film(t *testing.T) []byte {
	t.Helper()
	args := []string{"-loglevel", "error", "-nostdin"}
	for i := range scenes {
		rgb := sceneColor(i)
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("color=0x%02x%02x%02x:size=320x180:rate=5:duration=%d", rgb[0], rgb[1], rgb[2], sceneLength))
	}
	name := filepath.Join(t.TempDir(), "film.mp4")
	run(t, nil, "ffmpeg", append(args, "-filter_complex", fmt.Sprintf("concat=n=%d,noise=alls=16:allf=t", scenes),
		"-c:v", "libx264", "-preset", "ultrafast", "-qp", "16", "-g", "10", "-pix_fmt", "yuv420p", name)...)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < filmSize {
		t.Fatalf("the film has %d bytes: too few to tell what is fetched of it", len(b))
	}
	return b
}

// A cinema serves films, and the page that plays one and tells what it saw.
type cinema struct {
	films http.Handler

	mu     sync.Mutex
	starts []int64 // of the ranges that were asked for

	once  sync.Once
	ended chan struct{} // closed with what is told
	told  struct {
		Error  string
		Visits []struct {
			From, At float64 // seconds
			RGB      [3]int
		}
	}
	err error
}

//go:embed testdata/film.html
var filmPage []byte

func (c *cinema) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/films/"):
		var start int64
		_, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start)
		if err != nil {
			start = -1
		}
		c.mu.Lock()
		c.starts = append(c.starts, start)
		c.mu.Unlock()
		c.films.ServeHTTP(&line{ResponseWriter: w, gone: r.Context().Done()}, r)
	case path == "/told" && r.Method == http.MethodPost:
		c.once.Do(func() {
			c.err = json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&c.told)
			close(c.ended)
		})
	case path == "/told":
		select {
		case <-c.ended:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	case path == "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(filmPage)
	default:
		http.NotFound(w, r)
	}
}

// A line is so slow that it carries no more than lineLimit of an answer before the browser goes elsewhere. The buffers
// of a loopback connection would take tens of megabytes that nobody looks at.
type line struct {
	http.ResponseWriter
	gone <-chan struct{}
	sent int
}

const lineLimit = mib // about 5 s of the film

func (l *line) Write(p []byte) (int, error) {
	if l.sent+len(p) > lineLimit {
		<-l.gone
		return 0, http.ErrAbortHandler
	}
	l.sent += len(p)
	return l.ResponseWriter.Write(p)
}

// A browser plays an encrypted film from wherever its user goes, and fetches little else.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector sees nothing of a browser, and TestHandler is for the rest")
	}
	t.Parallel()
	need(t, "chromium", "ffmpeg")
	// The browser's sandbox needs what containers do not give. All that it shows is this test's.
	headless := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
	}
	if _, err := try(t, nil, "chromium", append(headless, "--dump-dom", "about:blank")...); err != nil {
		without(t, "chromium", err)
	}
	p := newPlace(t)
	data := film(t)
	if _, err := s3upload.New(p.direct, p.keys, nil).Upload(t.Context(), p.put("films/film.mp4", bytes.NewReader(data))); err != nil {
		t.Fatal(err)
	}
	c := &cinema{ended: make(chan struct{})}
	c.films = http.StripPrefix("/films/", s3fs.NewHandler(
		s3fs.New(t.Context(), p.client, p.bucket, "films", p.keys, nil),
		&s3fs.HandlerOptions{OnError: func(_ *http.Request, err error) { t.Error(err) }},
	))
	web := httptest.NewServer(c)
	defer web.Close()

	visits := []int{6, 1, 5, 3} // scenes
	var times []string
	for _, scene := range visits {
		times = append(times, fmt.Sprint(scene*sceneLength+sceneLength/2))
	}
	picture := filepath.Join(t.ArtifactDir(), "browser.png")
	run(t, nil, "chromium", append(headless, "--hide-scrollbars", "--window-size=680,520",
		"--autoplay-policy=no-user-gesture-required", "--screenshot="+picture, web.URL+"/?"+strings.Join(times, ","))...)
	web.Close()

	if c.told.Error != "" || c.err != nil || len(c.told.Visits) != len(visits) {
		t.Fatalf("%+v, %v", c.told, c.err)
	}
	for i, v := range c.told.Visits {
		scene := visits[i]
		if v.At < v.From+0.5 || v.At >= float64(scene+1)*sceneLength || sceneOf(v.RGB) != scene {
			t.Errorf("from %g s on: at %g s the color is %v, want that of scene %d, %v", v.From, v.At, v.RGB, scene, sceneColor(scene))
		}
		if want := int64(v.From / (scenes * sceneLength) * float64(len(data))); !c.askedNear(want) {
			t.Errorf("from %g s on: no range begins near %d: %d", v.From, want, c.starts)
		}
	}
	if rgb := colorOf(t, picture); sceneOf(rgb) != visits[len(visits)-1] {
		t.Errorf("the picture in %s has the color %v", picture, rgb)
	}
	fetched := faultproxy.Sum(p.proxy.Log(), faultproxy.GetObject)
	t.Logf("%d bytes in %d requests, of an object of %d; ranges from %d", fetched.BytesOut, fetched.Requests, len(data), c.starts)
	if fetched.BytesOut > int64(len(data))/2 {
		t.Error("that is more than half of it")
	}
}

// askedNear reports whether a range was asked for that begins at offset or less than 1 MiB beside it.
func (c *cinema) askedNear(offset int64) bool {
	for _, start := range c.starts {
		if max(start-offset, offset-start) < mib {
			return true
		}
	}
	return false
}

// colorOf returns the mean of the film's color in the upper half of where the page has it: controls lie over the rest.
func colorOf(t *testing.T, picture string) (rgb [3]int) {
	t.Helper()
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	area := image.Rect(20, 20, 660, 200) // by the page's style
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			for i, v := range []uint32{r, g, b} {
				rgb[i] += int(v >> 8)
			}
		}
	}
	for i := range rgb {
		rgb[i] /= area.Dx() * area.Dy()
	}
	return rgb
}
