package server

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// FuzzFrames: whatever bytes come, in whatever pieces, the frames that are cut from them are theirs, one after the
// other, none is longer than allowed, and what was charged to the budget is given back.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 0, 18, 0, 0, 0, 0, 0, 2, 9, 9}, uint16(3))
	f.Add(binary.BigEndian.AppendUint32(nil, 20_000), uint16(1))
	f.Add(append(binary.BigEndian.AppendUint32(nil, 40_000), make([]byte, 40_000)...), uint16(4096))
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		const most = 64 << 10
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			for rest := in; len(rest) > 0; {
				n := min(len(rest), 64+int(piece)) // smaller ones only take longer
				if _, err := there.Write(rest[:n]); err != nil {
					return // the reader has given up
				}
				rest = rest[n:]
			}
		}()
		defer here.Close()
		b := newBudget(1 << 20)
		var fr frameReader
		fr.init(here, most, b, time.Minute, time.Minute)
		at := 0
		for {
			frame, err := fr.next()
			if err != nil {
				break
			}
			if len(frame) > most || !bytes.Equal(in[at+4:at+4+len(frame)], frame) {
				t.Fatalf("frame of %d bytes at %d is not what was sent", len(frame), at)
			}
			at += 4 + len(frame)
			fr.release()
		}
		fr.close()
		if left := b.taken(); left != 0 {
			t.Fatalf("%d bytes of the budget are not given back", left)
		}
	})
}
