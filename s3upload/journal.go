package s3upload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// journalVersion is in a journal's first line.
const journalVersion = 1

// A heading is the first line of a journal: what the multipart upload is. The
// header has the data key wrapped, as the object will have it.
type heading struct {
	Version             int                `json:"bulla-upload-journal"`
	Bucket              string             `json:"bucket"`
	Key                 string             `json:"key"`
	UploadID            string             `json:"uploadId"`
	Header              []byte             `json:"header"`
	HeaderSuffix        string             `json:"headerSuffix,omitempty"`
	HeaderInMetadata    bool               `json:"headerInMetadata,omitempty"`
	ExpectedBucketOwner *string            `json:"expectedBucketOwner,omitempty"`
	RequestPayer        types.RequestPayer `json:"requestPayer,omitempty"`
}

// A record is a further line, written before the part is sent: how many
// plaintext bytes it has, whether the plaintext ends with it, and their MAC
// under the stream's source key.
type record struct {
	Part  int32  `json:"part"`
	Size  int64  `json:"size"`
	Final bool   `json:"final,omitempty"`
	MAC   []byte `json:"mac"`
}

// A journal is the file that an upload is resumed from: lines of JSON that are
// only ever added. A line that a crash has cut counts as not written.
type journal struct {
	name string
	file *os.File // nil until begun
	heading
	parts []record // in order, from part 1 on
}

// openJournal reads the journal of the given name, which need not exist: its
// file is then nil. The error is ErrJournal if it is something else.
func openJournal(name string) (*journal, error) {
	j := &journal{name: name}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	end, err := j.parse(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	j.file = f
	return j, nil
}

// What a journal is read with.
const (
	maxJournalLine = 256 << 10 // a header is at most 64 KiB, and a third more in base64
	sourceMACSize  = 32
)

// parse reads the lines, and returns where the whole ones end.
func (j *journal) parse(r io.Reader) (end int64, err error) {
	lines := bufio.NewReaderSize(r, maxJournalLine)
	for n := 0; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == io.EOF && n > 0:
			return end, nil // what is left of a line was never known to be there
		case err == io.EOF || err == bufio.ErrBufferFull:
			return 0, j.damaged("line %d is not whole", n+1)
		case err != nil:
			return 0, err
		case n > maxParts:
			return 0, j.damaged("it has more than %d parts", maxParts)
		}
		if n == 0 {
			err = j.parseHeading(line)
		} else {
			err = j.parseRecord(line, int32(n))
		}
		if err != nil {
			return 0, err
		}
		end += int64(len(line))
	}
}

func (j *journal) parseHeading(line []byte) error {
	if err := unmarshalLine(line, &j.heading); err != nil {
		return j.damaged("line 1: %v", err)
	}
	if j.Version != journalVersion {
		return j.damaged("it is of version %d, this program knows version %d", j.Version, journalVersion)
	}
	if j.Bucket == "" || j.Key == "" || j.UploadID == "" || len(j.Header) == 0 {
		return j.damaged("line 1 does not name an upload")
	}
	return nil
}

func (j *journal) parseRecord(line []byte, n int32) error {
	var r record
	if err := unmarshalLine(line, &r); err != nil {
		return j.damaged("line %d: %v", n+1, err)
	}
	ended := len(j.parts) > 0 && j.parts[len(j.parts)-1].Final
	if r.Part != n || r.Size < 0 || r.Size > maxPartSize || len(r.MAC) != sourceMACSize || ended || r.Size == 0 && !r.Final {
		return j.damaged("line %d is not that of part %d", n+1, n)
	}
	j.parts = append(j.parts, r)
	return nil
}

func unmarshalLine(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.InputOffset() != int64(len(line))-1 {
		return errors.New("more than one value")
	}
	return nil
}

func (j *journal) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %.512q: "+format, append([]any{ErrJournal, j.name}, args...)...)
}

// begin creates the file, which must not exist, with what was added so far, and
// makes it last before any part is sent.
func (j *journal) begin(h heading) (err error) {
	j.heading = h
	j.Version = journalVersion
	if j.file, err = os.OpenFile(j.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return fmt.Errorf("creating the journal: %w", err)
	}
	err = j.write(j.heading)
	for _, r := range j.parts {
		err = errors.Join(err, j.write(r))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.remove()
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// add adds the record of the next part, to the file too once that was begun.
func (j *journal) add(r record) error {
	j.parts = append(j.parts, r)
	if j.file == nil {
		return nil
	}
	if err := j.write(r); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

func (j *journal) write(line any) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(b, '\n'))
	return err
}

// close closes the file, which stays.
func (j *journal) close() {
	if j.file != nil {
		j.file.Close()
	}
}

// remove removes the file.
func (j *journal) remove() error {
	j.close()
	return os.Remove(j.name)
}
