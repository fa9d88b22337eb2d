package e2e_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/embed"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3upload"
)

// A row of the table of orders, and a line of its dump.
type row struct {
	ID     int64
	Name   string
	Price  float64
	Secret []byte
	Note   *string
}

const (
	orders    = 25_000 // rows
	allOrders = "SELECT id, name, price, secret, note FROM orders"
)

// newDatabase returns a database with the orders, and a second table like theirs that is empty. Not with -short.
func newDatabase(t *testing.T) *sql.DB {
	t.Helper()
	if testing.Short() {
		t.Skip("the race detector slows the database's start by ten seconds, and sees nothing of it")
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "database"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = db.ExecContext(t.Context(), fmt.Sprintf(`
		PRAGMA journal_mode = off;
		CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, secret BLOB, note TEXT);
		CREATE TABLE copies (id INTEGER PRIMARY KEY, name TEXT, price REAL, secret BLOB, note TEXT);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO orders SELECT i, 'żółw ' || i, random() / 7.0, randomblob(i %% 600), iif(i %% 3, hex(randomblob(10)), NULL) FROM n;
	`, orders))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// dump writes what the query finds to w, a line for each row.
func dump(ctx context.Context, db *sql.DB, query string, w io.Writer) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	lines := json.NewEncoder(w)
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.ID, &r.Name, &r.Price, &r.Secret, &r.Note); err != nil {
			return err
		}
		if err := lines.Encode(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// load reads what dump has written into the copies.
func load(ctx context.Context, db *sql.DB, r io.Reader) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.PrepareContext(ctx, "INSERT INTO copies VALUES (?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for lines := json.NewDecoder(r); ; {
		var r row
		if err := lines.Decode(&r); err == io.EOF {
			return tx.Commit()
		} else if err != nil {
			return err
		}
		if _, err := insert.ExecContext(ctx, r.ID, r.Name, r.Price, r.Secret, r.Note); err != nil {
			return err
		}
	}
}

// upload uploads what dump writes, while it does, and returns the errors of both.
func (p *place) upload(ctx context.Context, db *sql.DB, query string) (res *s3upload.Result, uploadErr, dumpErr error) {
	r, w := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		err := dump(ctx, db, query, w)
		w.CloseWithError(err)
		dumped <- err
	}()
	res, uploadErr = s3upload.New(p.client, p.keys, parts5).Upload(ctx, p.put("orders", r))
	r.CloseWithError(uploadErr) // what nobody reads any more must not be waited for
	return res, uploadErr, <-dumped
}

// A table goes through a pipe into the store, and comes back as it was.
func TestTable(t *testing.T) {
	db, p := newDatabase(t), newPlace(t)
	res, err, dumpErr := p.upload(t.Context(), db, allOrders)
	if err != nil || dumpErr != nil {
		t.Fatal(err, dumpErr)
	}
	t.Logf("%d rows, %d bytes, %d parts", orders, res.PlaintextSize, res.Parts)
	if res.Parts < 3 {
		t.Errorf("%d bytes are %d parts: too few", res.PlaintextSize, res.Parts)
	}
	if err := load(t.Context(), db, p.open(t, "orders", nil)); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"SELECT count(*) FROM orders": orders,
		"SELECT count(*) FROM copies": orders,
		"SELECT count(*) FROM (SELECT * FROM orders EXCEPT SELECT * FROM copies)": 0,
	} {
		var got int
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, want %d, %v", query, got, want, err)
		}
	}
}

// Of a dump that fails, nothing is stored; an upload that fails ends the dump.
func TestTableFails(t *testing.T) {
	db := newDatabase(t)
	t.Run("the database", func(t *testing.T) {
		p := newPlace(t)
		_, err, dumpErr := p.upload(t.Context(), db, fmt.Sprintf("SELECT id, name, price, secret, iif(id < %d, note, json('{')) FROM orders", orders))
		if dumpErr == nil || !strings.Contains(dumpErr.Error(), "malformed JSON") || !errors.Is(err, dumpErr) {
			t.Errorf("the dump's error is %v, the upload's is %v", dumpErr, err)
		}
		p.nothingLeft(t, "orders")
	})
	t.Run("the store", func(t *testing.T) {
		p := newPlace(t)
		p.proxy.Add(faultproxy.Rule{Op: faultproxy.UploadPart, Part: 2, Fault: faultproxy.Error(403, "AccessDenied")})
		_, err, dumpErr := p.upload(t.Context(), db, allOrders)
		if code(err) != "AccessDenied" || dumpErr != nil && code(dumpErr) != "AccessDenied" {
			t.Errorf("the upload's error is %v, the dump's is %v", err, dumpErr)
		}
		p.nothingLeft(t, "orders")
	})
}
