package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// LoggedIn is a dialer whose connections have logged in by a mechanism before anybody gets them; without one it is the
// dialer itself.
func LoggedIn(dial Dialer, m sasl.Mechanism) Dialer {
	if m == nil {
		return dial
	}
	return func(ctx context.Context, address string) (net.Conn, error) {
		nc, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		l := &login{ctx: ctx, nc: nc, in: newFrames(nc, maxLoginBytes, false)}
		stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
		life, err := l.run(m, address)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("log in by %s: %w", m.Name(), timedOut(errors.Join(err, ctx.Err())))
		}
		if life <= 0 {
			return nc, nil
		}
		// Another connection takes over a little before: one that the server ends could have a request on it.
		return &session{nc, time.Now().Add(life - life/8)}, nil
	}
}

const (
	// maxLoginBytes bounds an answer of a login.
	maxLoginBytes = 1 << 16
	// loginClientID is the client id of a login's requests.
	loginClientID = "logstead-login"
)

// session is a connection on which requests may be sent for a time only (KIP-368). A client opens another then, rather than
// log in again on this one.
type session struct {
	net.Conn
	ends time.Time
}

// errSessionOver is the end of a connection because of its session. A request that meets it has not been sent.
var errSessionOver = fmt.Errorf("%w: its session is over", ErrClosed)

// retire takes a connection whose session is over out of use, and says whether it did. It ends with the last request on it.
func (cn *conn) retire(now time.Time) bool {
	s, ok := cn.nc.(*session)
	if !ok || now.Before(s.ends) {
		return false
	}
	cn.mu.Lock()
	cn.mu.retired = true
	idle := len(cn.mu.waiting) == 0
	cn.mu.Unlock()
	if idle {
		cn.end(errSessionOver)
	}
	return true
}

// login is one login under way.
type login struct {
	ctx  context.Context
	nc   net.Conn
	in   *frames
	corr int32
}

// run logs in, and says for how long; 0 is without an end.
func (l *login) run(m sasl.Mechanism, host string) (time.Duration, error) {
	hello := kmsg.NewSaslHandshakeRequest()
	hello.Mechanism = m.Name()
	var offered kmsg.SaslHandshakeResponse
	if err := l.ask(&hello, &offered, 1); err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(offered.ErrorCode); err != nil {
		return 0, fmt.Errorf("%w: it is not among %v there", err, offered.Mechanisms)
	}
	session, token, err := m.Authenticate(l.ctx, host)
	if err != nil {
		return 0, err
	}
	for {
		req := kmsg.NewSaslAuthenticateRequest()
		req.AuthBytes = token
		var resp kmsg.SaslAuthenticateResponse
		if err := l.ask(&req, &resp, 2); err != nil {
			return 0, err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			if resp.ErrorMessage != nil {
				err = fmt.Errorf("%w: %s", err, *resp.ErrorMessage)
			}
			return 0, err
		}
		done, next, err := session.Challenge(resp.AuthBytes)
		if err != nil {
			return 0, err
		}
		if done {
			return time.Duration(resp.SessionLifetimeMs) * time.Millisecond, nil
		}
		token = next
	}
}

// ask sends a request and reads its answer.
func (l *login) ask(req kmsg.Request, resp kmsg.Response, version int16) error {
	l.corr++
	w := wire.GetWriter()
	defer wire.PutWriter(w)
	header(w, req.Key(), version, l.corr, loginClientID)
	req.Append(w, version)
	wire.Seal(w)
	if _, err := l.nc.Write(w.Buf); err != nil {
		return err
	}
	frame, err := l.in.next()
	if err != nil {
		return err
	}
	return decode(frame[4:], req.Key(), resp, version)
}
