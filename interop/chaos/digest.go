package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/logstead/logstead/internal/proto/batch"
)

// digest is what the segment files of a replica hold.
type digest struct {
	end     int64
	batches int
	sum     string
}

// readDigest reads every batch of the replica in a directory.
func readDigest(dir string) (digest, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return digest{}, err
	}
	slices.Sort(files)
	d, sum := digest{}, sha256.New()
	for _, name := range files {
		rest, err := os.ReadFile(name)
		if err != nil {
			return d, err
		}
		for len(bytes.Trim(rest, "\x00")) > 0 { // a killed node leaves files longer than what it wrote
			b, tail, err := batch.Next(rest)
			if err != nil {
				return d, fmt.Errorf("%s: %d bytes before its end: %w", name, len(rest), err)
			}
			if err := b.CheckCRC(); err != nil {
				return d, fmt.Errorf("%s: %w", name, err)
			}
			sum.Write(b)
			d.end, d.batches = b.LastOffset()+1, d.batches+1
			rest = tail
		}
	}
	d.sum = hex.EncodeToString(sum.Sum(nil)[:8])
	return d, nil
}

func replicaDir(data, topic string, partition int) string {
	return filepath.Join(data, fmt.Sprintf("%s-%d", topic, partition))
}

func hasReplica(data, topic string, partition int) bool {
	_, err := os.Stat(replicaDir(data, topic, partition))
	return err == nil
}

// compareReplicas compares the replicas of a partition in the data directories of all nodes that have one.
func compareReplicas(data []string, topic string, partition int) (copies int, err error) {
	var first digest
	var where string
	for _, dir := range data {
		if !hasReplica(dir, topic, partition) {
			continue
		}
		dir = replicaDir(dir, topic, partition)
		d, err := readDigest(dir)
		if err != nil {
			return copies, err
		}
		if copies++; copies == 1 {
			first, where = d, dir
			continue
		}
		if d != first {
			return copies, fmt.Errorf("%s: end %d, %d batches, digest %s; %s: end %d, %d batches, digest %s",
				where, first.end, first.batches, first.sum, dir, d.end, d.batches, d.sum)
		}
	}
	return copies, nil
}
