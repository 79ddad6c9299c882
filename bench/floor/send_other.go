//go:build !linux

package main

import (
	"io"
	"net"
	"os"
)

// send writes a header, a range of a file and what follows.
func send(nc *net.TCPConn, head []byte, file *os.File, pos int64, n int, tail []byte) error {
	if _, err := nc.Write(head); err != nil {
		return err
	}
	if _, err := io.Copy(nc, io.NewSectionReader(file, pos, int64(n))); err != nil {
		return err
	}
	_, err := nc.Write(tail)
	return err
}
