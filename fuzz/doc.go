// Package fuzz holds the fuzz targets that span packages, each with its seed
// corpus under testdata/fuzz. Run one with
//
//	go test ./fuzz -run '^$' -fuzz '^FuzzStream$' -fuzztime 5m
package fuzz
