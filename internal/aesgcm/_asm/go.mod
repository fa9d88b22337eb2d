module github.com/bulla-format/bulla/internal/aesgcm/_asm

go 1.26.0
