package peer

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// keeper answers logins by PLAIN, and heartbeats.
type keeper struct {
	life   time.Duration // of a session
	logins atomic.Int32
}

func (k *keeper) serve(key, version int16, body []byte) kmsg.Response {
	r := kmsg.NewReader(body)
	switch key {
	case kmsg.KeySaslHandshake:
		var req kmsg.SaslHandshakeRequest
		_ = req.Read(&r, version)
		resp := kmsg.NewSaslHandshakeResponse()
		if resp.Mechanisms = []string{"PLAIN"}; req.Mechanism != "PLAIN" {
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return &resp
	case kmsg.KeySaslAuthenticate:
		var req kmsg.SaslAuthenticateRequest
		_ = req.Read(&r, version)
		resp := kmsg.NewSaslAuthenticateResponse()
		resp.AuthBytes, resp.SessionLifetimeMs = []byte{}, k.life.Milliseconds()
		if string(req.AuthBytes) != "\x00ana\x00geheim" {
			resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, new("not you")
			return &resp
		}
		k.logins.Add(1)
		return &resp
	}
	resp := kmsg.NewBrokerHeartbeatResponse()
	return &resp
}

func tcp(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func TestLoggedIn(t *testing.T) {
	k := &keeper{}
	n := newNode(t, k.serve)
	ask := func(user, password string) error {
		c := n.client(t, Options{Dial: LoggedIn(tcp, plain.Auth{User: user, Pass: password}.AsMechanism())})
		req := kmsg.NewBrokerHeartbeatRequest()
		_, err := Request[kmsg.BrokerHeartbeatResponse](t.Context(), c, &req)
		return err
	}
	if err := ask("ana", "geheim"); err != nil || k.logins.Load() != 1 {
		t.Errorf("%d logins, %v", k.logins.Load(), err)
	}
	if err := ask("ana", "wrong"); !errors.Is(err, kerr.SaslAuthenticationFailed) || !strings.Contains(err.Error(), "not you") ||
		strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	// Nobody there who answers.
	mute := newNode(t, func(int16, int16, []byte) kmsg.Response { return nil })
	c := mute.client(t, Options{ConnectTimeout: 50 * time.Millisecond, Dial: LoggedIn(tcp, plain.Auth{User: "a", Pass: "b"}.AsMechanism())})
	req := kmsg.NewBrokerHeartbeatRequest()
	if _, err := Request[kmsg.BrokerHeartbeatResponse](t.Context(), c, &req); !errors.Is(err, ErrTimeout) {
		t.Errorf("a node that does not answer a login: %v", err)
	}
}

// TestSessionEnds has many ask at once over sessions that are short: each request is answered, and none of the connections
// that are left counts as broken.
func TestSessionEnds(t *testing.T) {
	for name, lone := range map[string]bool{"shared": false, "lone": true} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{life: 40 * time.Millisecond}
			n := newNode(t, k.serve)
			var lost atomic.Int32
			c := n.client(t, Options{
				Lone: lone, Dial: LoggedIn(tcp, plain.Auth{User: "ana", Pass: "geheim"}.AsMechanism()),
				Lost: func(error) { lost.Add(1) },
			})
			askers := 8
			if lone {
				askers = 1
			}
			var wg sync.WaitGroup
			for range askers {
				wg.Go(func() {
					for k.logins.Load() < 6 && t.Context().Err() == nil {
						req := kmsg.NewBrokerHeartbeatRequest()
						var resp kmsg.BrokerHeartbeatResponse
						if err := c.Do(t.Context(), &req, &resp); err != nil {
							t.Error(err)
							return
						}
						if lone {
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			wg.Wait()
			if lost.Load() != 0 {
				t.Errorf("%d connections count as lost", lost.Load())
			}
		})
	}
}
