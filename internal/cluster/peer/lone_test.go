package peer

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// records answers Fetch with so many bytes, each of which is the last digit of the wait that was asked for.
func records(size int) func(key, version int16, body []byte) kmsg.Response {
	return func(_, version int16, body []byte) kmsg.Response {
		var req kmsg.FetchRequest
		r := kmsg.NewReader(body)
		if err := req.Read(&r, version); err != nil {
			panic(err)
		}
		resp := kmsg.NewFetchResponse()
		d := kmsg.NewFetchResponsePartitionData()
		d.Records.Bytes = bytes.Repeat([]byte{byte(req.MaxWaitMs % 10)}, size)
		resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{{Partitions: []kmsg.FetchResponsePartitionData{d}}}
		return &resp
	}
}

func fetch(wait int) *kmsg.FetchRequest {
	req := kmsg.NewFetchRequest()
	req.MaxWaitMs = int32(wait)
	return &req
}

// TestLone: a user alone gets the answers in order over one connection, with small ones and large ones in turn.
func TestLone(t *testing.T) {
	for _, size := range []int{100, 40 << 10, 2 << 20} {
		n := newNode(t, records(size))
		c := n.client(t, Options{Lone: true})
		for i := range 20 {
			resp, err := Request[kmsg.FetchResponse](t.Context(), c, fetch(i))
			if err != nil {
				t.Fatal(err)
			}
			got := resp.Responses[0].Partitions[0].Records.Bytes
			if want := bytes.Repeat([]byte{byte(i % 10)}, size); !bytes.Equal(got, want) {
				t.Fatalf("answer %d of %d bytes is not what was sent", i, len(got))
			}
		}
		if got := n.conns.Load(); got != 1 {
			t.Errorf("%d connections were opened, want 1", got)
		}
	}
}

// TestLoneGivesUp: who waits alone comes back when it is cancelled, when time runs out, when the other side goes
// and when the client is closed, and the next request opens a connection.
func TestLoneGivesUp(t *testing.T) {
	var silent atomic.Bool
	arrived := make(chan struct{}, 1)
	n := newNode(t, func(key, version int16, body []byte) kmsg.Response {
		if silent.Load() {
			arrived <- struct{}{}
			return nil
		}
		return records(10)(key, version, body)
	})
	lost := make(chan error, 1)
	c := n.client(t, Options{Lone: true, RequestTimeout: time.Minute, Lost: func(err error) { lost <- err }})
	for _, step := range []struct {
		name  string
		abort func(cancel func())
		want  error
	}{
		{"cancelled", func(cancel func()) { cancel() }, ErrClosed},
		{"the other side goes", func(func()) { n.breakAll() }, nil},
		{"closed", func(func()) { c.Close() }, ErrClosed},
	} {
		silent.Store(false)
		if _, err := Request[kmsg.FetchResponse](t.Context(), c, fetch(1)); err != nil {
			t.Fatalf("before %s: %v", step.name, err)
		}
		silent.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := Request[kmsg.FetchResponse](ctx, c, fetch(1))
			ended <- err
		}()
		<-arrived
		step.abort(cancel)
		if err := <-ended; err == nil || step.want != nil && !errors.Is(err, step.want) {
			t.Errorf("%s: error %v, want %v", step.name, err, step.want)
		}
		cancel()
		if step.want == nil {
			<-lost
		}
	}
	if len(lost) > 0 {
		t.Errorf("what this side ended was reported as a lost connection: %v", <-lost)
	}
	if got := n.conns.Load(); got != 3 {
		t.Errorf("%d connections were opened, want 3", got)
	}
}

// BenchmarkFetch is one fetch of a follower on loopback, client and a trivial other side together.
func BenchmarkFetch(b *testing.B) {
	for name, lone := range map[string]bool{"lone": true, "shared": false} {
		b.Run(name, func(b *testing.B) {
			n := newNode(b, records(64<<10))
			c := n.client(b, Options{Lone: lone})
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			for range b.N {
				if _, err := Request[kmsg.FetchResponse](b.Context(), c, fetch(1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
