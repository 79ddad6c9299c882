package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const valueBytes = 200

// value is a record's value, which says whose it is.
func value(k key) []byte {
	v := bytes.Repeat([]byte{'.'}, valueBytes)
	copy(v, fmt.Sprintf("%d/%d ", k.writer, k.seq))
	return v
}

// parseValue reads what value wrote.
func parseValue(v []byte) (key, error) {
	text, _, ok := strings.Cut(string(v), " ")
	w, s, cut := strings.Cut(text, "/")
	writer, err1 := strconv.Atoi(w)
	seq, err2 := strconv.Atoi(s)
	if !ok || !cut || err1 != nil || err2 != nil {
		return key{-1, -1}, fmt.Errorf("a value that nobody here wrote: %.40q", v)
	}
	return key{writer, seq}, nil
}

// parseJava reads a value of Apache Kafka's VerifiableProducer: PREFIX.SEQ.
func parseJava(v string) (key, error) {
	w, s, ok := strings.Cut(v, ".")
	writer, err1 := strconv.Atoi(w)
	seq, err2 := strconv.Atoi(s)
	if !ok || err1 != nil || err2 != nil {
		return key{-1, -1}, fmt.Errorf("a value that nobody here wrote: %.40q", v)
	}
	return key{writer, seq}, nil
}
