package api

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// countSink counts what a call is answered with.
type countSink struct{ sent, dropped, closed int }

func (s *countSink) Send(w *kmsg.Writer) { s.sent++; wire.PutWriter(w) }
func (s *countSink) Drop()               { s.dropped++ }
func (s *countSink) Close(string)        { s.closed++ }

// FuzzLogin gives a connection that has to log in whatever frames: each is answered once, or ends the connection; none has
// a handler fail; and nobody is in who has not sent the password.
func FuzzLogin(f *testing.F) {
	frame := func(key, version int16, body string) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return append(append(b, 0, 0, 0, 1, 0xff, 0xff), body...)
	}
	pack := func(frames ...[]byte) (out []byte) {
		for _, fr := range frames {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(fr))), fr...)
		}
		return out
	}
	const token = "\x00ana\x00geheim"
	hello := func(version int16) []byte { return frame(17, version, "\x00\x05PLAIN") }
	f.Add(pack(frame(18, 0, ""), hello(1), frame(36, 0, "\x00\x00\x00\x0b"+token), frame(3, 1, "\x00\x00\x00\x00")))
	f.Add(pack(hello(0), []byte(token), frame(18, 0, "")))
	f.Add(pack(frame(18, 99, ""), hello(1), hello(1)))
	f.Add(pack(frame(17, 1, "\x00\x0dSCRAM-SHA-256"), frame(36, 1, "\x00\x00\x00\x0an,,n=a,r=b"), frame(36, 1, "\x00\x00\x00\x10c=biws,r=b,p=AAA")))
	f.Add(pack([]byte{0x75, 0x30, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, nil))
	im := meta.Empty("fuzz")
	f.Fuzz(func(t *testing.T, in []byte) {
		var log bytes.Buffer
		b := &Broker{
			Logger: slog.New(slog.NewTextHandler(&log, nil)), Clock: clock.System{}, Image: func() *meta.Image { return im },
			Features: func() (int64, []Feature) { return 0, nil },
			Private:  map[int16]func([]byte) error{30000: func([]byte) error { t.Fatal("a message between nodes was taken"); return nil }},
		}
		b.Init(1<<20, 1)
		gate := auth.NewGate(&auth.Settings{Mechanisms: []auth.Mechanism{
			auth.NewPlain(map[string]string{"ana": "geheim"}), auth.NewScram(auth.Scram256Name, b.Image),
		}})
		conn := NewConn(1, "LOGIN", netip.AddrPort{}, netip.AddrPort{}, nil, func() {})
		conn.Controller = true
		conn.RequireLogin(gate)
		var call Call
		knew := false
		for len(in) >= 2 && conn.LoggingIn() != nil {
			n := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			fr := in[2 : 2+n]
			in = in[2+n:]
			knew = knew || bytes.Contains(fr, []byte(token)) || bytes.Contains(fr, []byte("ana"+token))
			sink := &countSink{}
			err := b.Dispatch(conn, fr, &call, sink)
			if n := sink.sent + sink.dropped + sink.closed; n > 1 || n == 0 && err == nil {
				t.Fatalf("frame %x is answered %d times, error %v", fr, n, err)
			}
			if strings.Contains(log.String(), "panic") {
				t.Fatalf("frame %x: %s", fr, log.String())
			}
			if err != nil {
				break
			}
		}
		conn.Gone()
		if conn.LoggingIn() == nil && (!knew || conn.Principal.Name != "ana") {
			t.Fatalf("in as %q", conn.Principal.Name)
		}
		if c := gate.Counts(); c.Waiting != 0 {
			t.Fatalf("%d wait after the end", c.Waiting)
		}
	})
}
