package main

import (
	"context"
	"errors"
	"time"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

var osFS = vfs.OS{}

// line carries what an observer asks to a controller of this process, as bytes.
type line struct{ c *controller.Controller }

func (l *line) ask(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
	in, ok := req.(*kmsg.FetchRequest)
	if !ok {
		return errors.ErrUnsupported
	}
	w := kmsg.Writer{}
	in.Append(&w, fetchVersion)
	r := kmsg.NewReader(w.Buf)
	var got kmsg.FetchRequest
	if err := got.Read(&r, fetchVersion); err != nil {
		return err
	}
	answer, err := l.fetch(ctx, &got)
	if err != nil {
		return err
	}
	w = kmsg.Writer{}
	answer.Append(&w, fetchVersion)
	r = kmsg.NewReader(w.Buf)
	return resp.Read(&r, fetchVersion)
}

func (l *line) fetch(ctx context.Context, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	in := req.Topics[0].Partitions[0]
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.MaxWaitMs)*time.Millisecond)
	defer cancel()
	t, err := l.c.Tail(ctx, controller.TailRequest{
		Replica: req.ReplicaState.ReplicaId, Offset: in.FetchOffset, LastEpoch: in.LastFetchedEpoch, MaxBytes: in.PartitionMaxBytes,
	})
	if err != nil {
		return nil, err
	}
	out := kmsg.NewFetchResponsePartitionData()
	out.HighWatermark, out.CurrentLeader.LeaderId, out.CurrentLeader.LeaderEpoch = t.EndOffset, t.Leader, t.Epoch
	out.Records.Bytes = []byte{}
	if t.Range != nil {
		defer t.Range.Release()
		out.Records.Bytes = make([]byte, t.Range.Len())
		if _, err := t.Range.ReadAt(out.Records.Bytes, 0); err != nil {
			return nil, err
		}
	}
	resp := kmsg.NewFetchResponse()
	resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{{
		TopicId: in.ReplicaDirectoryId, Partitions: []kmsg.FetchResponsePartitionData{out},
	}}
	return &resp, nil
}
