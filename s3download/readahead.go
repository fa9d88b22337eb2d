package s3download

import "sync"

// ReadAt reads ahead where it is used to read in order: an archive's member, a
// column. With each request it asks for a further quarter of what the row of
// requests before it, each beginning where the other ended, has brought. So a
// row that ends has cost at most a quarter too much, and reads at random cost
// nothing; the number of requests grows with the logarithm of the bytes, until
// the cache is the limit.
const aheadShare = 4

// A pace knows where rows of requests ended, for as many rows as are used at a
// time by one who, say, reads some columns at once.
type pace struct {
	mu   sync.Mutex
	rows [8]row // the one used last in front
}

// A row is of length segments, up to end-1.
type row struct{ end, length int64 }

// ahead returns how many segments to read ahead with a request that begins with
// segment index.
func (p *pace) ahead(index int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i, ok := p.find(index); ok {
		return p.rows[i].length / aheadShare
	}
	return 0
}

// moved tells of a request for the segments first to end-1.
func (p *pace) moved(first, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	length := end - first
	i, ok := p.find(first)
	if ok {
		length += p.rows[i].length
	}
	copy(p.rows[1:], p.rows[:i])
	p.rows[0] = row{end, length}
}

// find returns the row that ended before segment index; if there is none, the
// one that was not used for longest.
func (p *pace) find(index int64) (i int, ok bool) {
	for i, r := range p.rows {
		if r.end == index && r.length > 0 {
			return i, true
		}
	}
	return len(p.rows) - 1, false
}
