package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// settle cuts the power of the broker's volume under load, has `logstead storage settle` recover the directory, and starts
// Apache Kafka on it at the same address, where the load goes on; then logstead takes the directory back. A kill -9 alone
// would prove little: Kafka finds in the segments what the system still held in memory. It is what is left to try where
// there is no volume.
func (f *fault) settle(ctx context.Context) error {
	n, err := f.newNode(ctx, "settle")
	if err != nil {
		return err
	}
	v, err := local.NewVolume(ctx, n.Dir, powerBytes)
	var no *local.NotHere
	if errors.As(err, &no) {
		f.report.NotRun("settle: power cut", no.Error()+"; kill -9 is tried in its place")
		return f.handOver(ctx, n, filepath.Join(f.dir, "settle-kafka"), "kill -9, settled", func(context.Context) error { return n.Kill() })
	}
	if err != nil {
		return err
	}
	defer func() { f.report.Check("settle: volume can be unmounted", v.Down()) }()
	return f.handOver(ctx, n, v.Mount, "power cut, settled", func(ctx context.Context) error { return cutPower(ctx, n, v) })
}

// handOver breaks the broker, settles its files, which are in the folder data of dir, and lets Apache Kafka serve them.
func (f *fault) handOver(ctx context.Context, n *local.Node, dir, name string, cut func(context.Context) error) error {
	k, err := local.NewKafka(ctx, dir)
	if err != nil {
		return err
	}
	// Defaults for the rest: the two must agree on the partitions of their own topics.
	n.Addr, n.Data, n.Set = k.Addr, k.Data(), []string{"logstead.journal.file.bytes=4194304"}
	defer n.Kill()
	if err := n.Start(ctx); err != nil {
		return err
	}
	l, err := startLoad(ctx, n.Addr)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.await(ctx, 1000); err != nil {
		return err
	}
	if err := cut(ctx); err != nil {
		return err
	}
	before, began := l.acks(), time.Now()
	if _, err := n.Command(ctx, "storage", "settle", n.Data); err != nil {
		return err
	}
	f.report.Note("%d acknowledged, %d transactions; settled in %.2f s", before, l.txns(), time.Since(began).Seconds())
	defer k.Kill()
	if err := k.Adopt(ctx); err != nil {
		return err
	}
	if err := l.await(ctx, before+500); err != nil {
		return fmt.Errorf("Apache Kafka on the settled directory: %w", err)
	}
	if err := l.stop(ctx); err != nil {
		return err
	}
	f.report.Note("%d acknowledged, %d transactions with Apache Kafka", l.acks(), l.txns())
	l.check(ctx, f.report, name+", Apache Kafka: ")
	if err := k.Stop(); err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return fmt.Errorf("start on what Apache Kafka left: %w", err)
	}
	l.check(ctx, f.report, name+", back in logstead: ")
	return nil
}
