package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// other is a broker at the far end of pipes.
type other struct {
	wg       sync.WaitGroup
	requests chan kmsg.Request
	answer   func(kmsg.Request) kmsg.Response
}

func (o *other) dial(context.Context, string) (net.Conn, error) {
	here, there := net.Pipe()
	o.wg.Go(func() {
		defer there.Close()
		for o.serve(there) == nil {
		}
	})
	return here, nil
}

func (o *other) serve(nc net.Conn) error {
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		return err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(nc, frame); err != nil {
		return err
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	var h kmsg.RequestHeader
	r := kmsg.NewReader(frame)
	if err := h.Read(&r, kmsg.RequestHeaderVersion(key, version)); err != nil {
		return err
	}
	var req kmsg.Request
	var resp kmsg.Response
	switch key {
	case kmsg.KeyApiVersions:
		v := kmsg.NewApiVersionsResponse()
		for _, a := range kmsg.APIs {
			v.ApiKeys = append(v.ApiKeys, kmsg.ApiVersionsResponseApiVersion{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max})
		}
		resp = &v
	case kmsg.KeyWriteTxnMarkers:
		req = &kmsg.WriteTxnMarkersRequest{}
	case kmsg.KeyAddPartitionsToTxn:
		req = &kmsg.AddPartitionsToTxnRequest{}
	}
	if req != nil {
		body := kmsg.NewReader(r.Rest())
		if err := req.Read(&body, version); err != nil {
			return err
		}
		resp = o.answer(req)
		o.requests <- req
	}
	w := &kmsg.Writer{Buf: make([]byte, 4)}
	w.Int32(h.CorrelationId)
	if kmsg.ResponseHeaderVersion(key, version) >= 1 {
		w.Uvarint(0)
	}
	resp.Append(w, version)
	binary.BigEndian.PutUint32(w.Buf, uint32(len(w.Buf)-4))
	_, err := nc.Write(w.Buf)
	return err
}

func open(t *testing.T, answer func(kmsg.Request) kmsg.Response) (*other, *Brokers) {
	t.Helper()
	o := &other{requests: make(chan kmsg.Request, 100), answer: answer}
	b := New(Options{
		NodeID: 1, Dial: o.dial, RequestTimeout: 2 * time.Minute,
		Address: func(id int32) (string, error) {
			if id != 2 {
				return "", errors.New("not registered")
			}
			return "two:9092", nil
		},
	})
	t.Cleanup(func() {
		b.Close()
		o.wg.Wait()
	})
	return o, b
}

func TestMarkersAreAnsweredOneByOne(t *testing.T) {
	_, b := open(t, func(req kmsg.Request) kmsg.Response {
		resp := kmsg.NewWriteTxnMarkersResponse()
		for _, m := range req.(*kmsg.WriteTxnMarkersRequest).Markers {
			p := kmsg.WriteTxnMarkersResponseWritableTxnMarkerPartitionResult{PartitionIndex: m.Topics[0].PartitionIndexes[0]}
			if p.PartitionIndex == 3 {
				p.ErrorCode = kerr.NotLeaderForPartition.Code
			}
			if m.TransactionVersion != 2 || !m.TransactionResult || m.CoordinatorEpoch != 7 {
				p.ErrorCode = kerr.InvalidRequest.Code
			}
			resp.Markers = append(resp.Markers, kmsg.WriteTxnMarkersResponseWritableTxnMarkerResult{
				ProducerId: m.ProducerId, Topics: []kmsg.WriteTxnMarkersResponseWritableTxnMarkerTopicResult{{
					Name: m.Topics[0].Name, Partitions: []kmsg.WriteTxnMarkersResponseWritableTxnMarkerPartitionResult{p},
				}},
			})
		}
		return &resp
	})
	m := coord.Marker{Txn: coord.Txn{ProducerID: 5, ProducerEpoch: 1}, CoordinatorEpoch: 7, TransactionVersion: 2, Commit: true}
	var wg sync.WaitGroup
	for i := range int32(20) {
		wg.Add(1)
		b.WriteMarker(2, base.TopicPartition{Topic: "t", Partition: i}, m, func(err error) {
			defer wg.Done()
			if want := i == 3; want != errors.Is(err, kerr.NotLeaderForPartition) || !want && err != nil {
				t.Errorf("partition %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	unreached := make(chan error, 1)
	b.WriteMarker(9, base.TopicPartition{Topic: "t"}, m, func(err error) { unreached <- err })
	if err := <-unreached; !errors.Is(err, kerr.NetworkException) {
		t.Errorf("a broker that nobody knows: %v", err)
	}
}

func TestVerification(t *testing.T) {
	busy := 2
	o, b := open(t, func(req kmsg.Request) kmsg.Response {
		in := req.(*kmsg.AddPartitionsToTxnRequest).Transactions[0]
		resp := kmsg.NewAddPartitionsToTxnResponse()
		out := kmsg.AddPartitionsToTxnResponseAddPartitionsToTxnResult{TransactionalId: in.TransactionalId}
		for _, topic := range in.Topics {
			tr := kmsg.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult{Name: topic.Name}
			for _, p := range topic.Partitions {
				r := kmsg.AddPartitionsToTxnResponseAddPartitionsToTxnPartitionResult{PartitionIndex: p}
				switch {
				case !in.VerifyOnly && busy > 0:
					busy--
					r.PartitionErrorCode = kerr.ConcurrentTransactions.Code
				case p == 1 && in.VerifyOnly:
					r.PartitionErrorCode = kerr.TransactionAbortable.Code
				}
				tr.ResultsByPartition = append(tr.ResultsByPartition, r)
			}
			out.TopicResults = append(out.TopicResults, tr)
		}
		resp.ResultsByTransaction = append(resp.ResultsByTransaction, out)
		return &resp
	})
	type verdict struct {
		err     error
		missing []base.TopicPartition
	}
	got := make(chan verdict, 1)
	add := txn.Add{
		TransactionalID: "x", ProducerID: 5, VerifyOnly: true,
		Partitions: []base.TopicPartition{{Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}},
	}
	b.AddPartitions(2, add, func(err error, missing []base.TopicPartition) { got <- verdict{err, missing} })
	if v := <-got; v.err != nil || len(v.missing) != 1 || v.missing[0].Partition != 1 {
		t.Errorf("verified: %+v", v)
	}
	<-o.requests
	add.VerifyOnly, add.Wait, add.Partitions = false, time.Minute, add.Partitions[:1]
	b.AddPartitions(2, add, func(err error, missing []base.TopicPartition) { got <- verdict{err, missing} })
	if v := <-got; v.err != nil || len(v.missing) != 0 {
		t.Errorf("added: %+v", v)
	}
	if n := len(o.requests); n != 3 {
		t.Errorf("%d requests, want 3: the transaction before took two to end", n)
	}
	b.AddPartitions(9, add, func(err error, missing []base.TopicPartition) { got <- verdict{err, missing} })
	if v := <-got; !errors.Is(v.err, kerr.NetworkException) {
		t.Errorf("a broker that nobody knows: %+v", v)
	}
}
