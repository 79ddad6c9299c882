package local

import (
	"fmt"
	"net"
	"time"
)

// AskVersions asks on a connection which APIs there are: what a listener answers to whomever it lets speak, before a login. It
// looks no further than at the first byte of the answer.
func AskVersions(nc net.Conn, within time.Duration) error {
	if err := nc.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := nc.Write([]byte("\x00\x00\x00\x0e\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04test")); err != nil {
		return err
	}
	first := []byte{0}
	if _, err := nc.Read(first); err != nil {
		return err
	}
	if first[0] != 0 { // an answer begins with its size; Java ends a session that never was with an alert
		return fmt.Errorf("the answer begins with %#x", first[0])
	}
	return nil
}
