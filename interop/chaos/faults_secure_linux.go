package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// guestLoad is what happened to the guest, by partition.
type guestLoad struct {
	acks, refusals [guards]atomic.Int64
	login          atomic.Int32
}

// How the guest's login is: good; or its password is another, and a record that fails by that, as franz-go has it now and then,
// is no anomaly; or the guest has heard of it, and an attempt of before may still fail.
const (
	loginGood int32 = iota
	loginOld
	loginTold
)

func (g *guestLoad) acked() (n int64) {
	for i := range g.acks {
		n += g.acks[i].Load()
	}
	return n
}

// visit writes one record after the other with one idempotent producer, as a user that may not always do so. What it is
// refused must never be seen.
func (l *load) visit(ctx context.Context) {
	cl, err := l.c.newClient(guest, kgo.DefaultProduceTopic(guardTopic), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		l.h.Anomaly("client-error", "guest: %v", err)
		return
	}
	defer cl.Close()
	for i := int32(0); wait(ctx, guestGap) == nil; i++ {
		p := i % guards
		k := l.h.Begin(guestWriter, guardTopic, p)
		each, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*wholeLimit)
		r := &kgo.Record{Partition: p, Value: value(k)}
		err := cl.ProduceSync(each, r).FirstErr()
		cancel()
		switch {
		case err == nil:
			l.h.Settle(k, acked, r.Offset)
			l.guest.acks[p].Add(1)
			l.guest.login.CompareAndSwap(loginTold, loginGood)
		case errors.Is(err, kerr.SaslAuthenticationFailed) && l.guest.login.Load() != loginGood:
			l.h.Settle(k, unknown, -1)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			l.h.Settle(k, forbidden, -1)
			l.guest.refusals[p].Add(1)
		default:
			l.settle(k, r, err)
			l.h.Anomaly("client-error", "guest: %v: %v", k, err)
		}
	}
}

// nothingComesIn has what the guest wrote stand still from now until the fault is healed.
func (x *injection) nothingComesIn(ctx context.Context) error {
	acks := x.l.guest.acked()
	ends, err := x.guarded(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	x.onHeal(func(ctx context.Context) error {
		held := time.Since(began)
		more := x.l.guest.acked() - acks
		later, err := x.guarded(ctx)
		x.verdicts = append(x.verdicts, func(r *local.Report, name string) {
			r.That(name+": the guest writes nothing", err == nil && more == 0 && later == ends,
				"within %v %d records acknowledged, the ends were %v and are %v, %v", held.Round(time.Millisecond), more, ends, later, err)
		})
		return nil
	})
	return nil
}

// guarded is where the partitions end that the guest writes to.
func (x *injection) guarded(ctx context.Context) (ends [guards]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		listed, err := x.c.adm.ListEndOffsets(ctx, guardTopic)
		if err == nil {
			err = listed.Error()
		}
		if err == nil {
			for p, o := range listed[guardTopic] {
				ends[p] = o.Offset
			}
			return ends, nil
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return ends, fmt.Errorf("ends of %s: %w", guardTopic, err)
		}
	}
}

// deny takes from the guest what it may do: its permission, or it gets a prohibition beside. It bites once the guest was
// refused in every partition; from then on nothing may come in, whoever leads.
func deny(ctx context.Context, x *injection) error {
	who := "User:" + string(guest)
	allowed := kadm.NewACLs().Allow(who).AllowHosts("*").Topics(guardTopic).Operations(kadm.OpWrite)
	denied := kadm.NewACLs().Deny(who).DenyHosts("*").Topics(guardTopic).Operations(kadm.OpWrite)
	take, give := x.c.addACLs, x.c.removeACLs
	entry := denied
	if x.what = "prohibited"; x.rng.IntN(2) == 0 {
		x.what, take, give, entry = "permission taken", x.c.removeACLs, x.c.addACLs, allowed
	}
	var before [guards]int64
	for p := range before {
		before[p] = x.l.guest.refusals[p].Load()
	}
	x.onHeal(func(ctx context.Context) error { return give(ctx, entry) })
	if err := take(ctx, entry); err != nil {
		return err
	}
	err := x.until(ctx, startLimit, "the guest is not refused in every partition", func() bool {
		for p := range before {
			if x.l.guest.refusals[p].Load() == before[p] {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return x.nothingComesIn(ctx)
}

// until waits for a condition.
func (x *injection) until(ctx context.Context, limit time.Duration, not string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !ok() {
		if wait(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("%s after %v", not, limit)
		}
	}
	return nil
}

// theGuarded is a node that leads a partition of the guest's.
func theGuarded(ctx context.Context, x *injection) (*node, error) {
	return x.c.leader(ctx, guardTopic, int32(x.rng.IntN(guards)))
}

// credential gives the guest another password that it does not know: who is in stays in until the session ends, who begins
// anew does not come in. Then the guest hears of it.
func credential(ctx context.Context, x *injection) error {
	s := x.c.secured
	old, next := s.password(guest), fmt.Sprintf("secret-%d", x.rng.Int64())
	x.what = "of the guest"
	x.onHeal(func(context.Context) error {
		s.setPassword(guest, next)
		x.l.guest.login.Store(loginTold)
		return nil
	})
	x.l.guest.login.Store(loginOld)
	if err := x.c.alterPassword(ctx, guest, next); err != nil {
		return err
	}
	for _, nd := range x.c.nodes {
		var was, is error
		err := x.until(ctx, startLimit, "", func() bool {
			was, is = x.c.logIn(ctx, nd, withPassword(guest, old)), x.c.logIn(ctx, nd, withPassword(guest, next))
			return errors.Is(was, kerr.SaslAuthenticationFailed) && is == nil
		})
		if err != nil {
			return fmt.Errorf("node %d: by the old password %v, by the new one %v", nd.id, was, is)
		}
	}
	tries := s.tried(guest)
	for _, nd := range x.c.nodes {
		if _, err := x.c.fabric.reset(ctx, x.c.fabric.hosts[0], nd.host); err != nil {
			return err
		}
	}
	// Its client tries again and again; what it had under way as its connection broke is written or lost by the third time.
	err := x.until(ctx, startLimit, "the guest does not try to come in", func() bool { return s.tried(guest) >= tries+3 })
	if err != nil {
		return err
	}
	return x.nothingComesIn(ctx)
}

// renew gives one node after the other a new certificate for clients and brokers, by its configuration.
func renew(ctx context.Context, x *injection) error {
	x.what = "of every node"
	for _, nd := range x.c.nodes {
		name, err := x.c.secured.issue(nd, false)
		if err != nil {
			return err
		}
		key := "listener.name.secure.ssl.keystore.location"
		err = x.c.insist(ctx, func(ctx context.Context) error {
			res, err := x.c.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &name}}, nd.id)
			for _, r := range res {
				if r.Err != nil {
					err = fmt.Errorf("node %d: %w: %s", nd.id, r.Err, r.ErrMessage)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		x.c.secured.installed(nd, false, name)
		if err := x.c.awaitShown(ctx, nd); err != nil {
			return err
		}
	}
	x.onHeal(x.judgeShown)
	return nil
}

// renewFiles puts new certificates of all nodes, those for controllers too, into the files that they read, and breaks the
// connections between the nodes: those that they begin are made with the new ones.
func renewFiles(ctx context.Context, x *injection) error {
	if err := x.overwriteAll(ctx); err != nil {
		return err
	}
	x.onHeal(x.judgeShown)
	return resetStorm(ctx, x)
}

func (x *injection) overwriteAll(ctx context.Context) error {
	for _, nd := range x.c.nodes {
		for _, controller := range []bool{false, true} {
			if err := x.c.secured.overwrite(nd, controller); err != nil {
				return err
			}
		}
	}
	return x.c.awaitShown(ctx, x.c.nodes...)
}

// authority has another authority sign for all: first everybody trusts both, then everybody has a certificate of the new one,
// then nobody trusts the old one any more.
func authority(ctx context.Context, x *injection) error {
	s := x.c.secured
	s.mu.Lock()
	old := s.mu.signing
	next := 1 - old
	s.mu.Unlock()
	x.what = fmt.Sprintf("%d for %d", next, old)
	done := false
	x.onHeal(func(context.Context) error {
		if done {
			return nil
		}
		return x.trust(old, next)
	})
	if err := x.trust(old, next); err != nil {
		return err
	}
	if err := x.awaitTrust(ctx, next, true); err != nil {
		return err
	}
	s.mu.Lock()
	s.mu.signing = next
	s.mu.Unlock()
	if err := x.overwriteAll(ctx); err != nil {
		return err
	}
	x.onHeal(x.judgeShown)
	if err := x.trust(next); err != nil {
		return err
	}
	if err := x.awaitTrust(ctx, old, false); err != nil {
		return err
	}
	done = true
	return resetStorm(ctx, x)
}

func (x *injection) trust(authorities ...int) error {
	var errs []error
	for _, nd := range x.c.nodes {
		errs = append(errs, x.c.secured.setTrust(nd, authorities...))
	}
	return errors.Join(errs...)
}

// awaitTrust waits until the controllers' listeners let in, or do not let in, who shows a certificate of an authority.
func (x *injection) awaitTrust(ctx context.Context, authority int, wanted bool) error {
	cert, err := x.c.secured.clientCert(authority)
	if err != nil {
		return err
	}
	for _, nd := range x.c.nodes {
		if !x.c.controls(nd) {
			continue
		}
		var last error
		err := x.until(ctx, storesLimit, "", func() bool {
			_, last = x.c.askVersions(ctx, nd.controllerAddr(), true, cert)
			return (last == nil) == wanted
		})
		if err != nil {
			return fmt.Errorf("node %d lets in who has a certificate of authority %d: %v (%v), want %v", nd.id, authority, !wanted, last, wanted)
		}
	}
	return nil
}
