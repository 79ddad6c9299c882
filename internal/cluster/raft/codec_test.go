package raft

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func TestCodec(t *testing.T) {
	in := []*pb.Message{
		{Type: pb.MsgHeartbeat.Enum(), To: new(Voter{ID: 2}.RaftID()), From: new(uint64(2)), Term: new(uint64(7))},
		{Type: pb.MsgApp.Enum(), To: new(uint64(3)), Entries: []*pb.Entry{{Index: new(uint64(5)), Data: []byte("batch")}}},
	}
	body, err := Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode(body)
	if err != nil || len(out) != 2 || !proto.Equal(in[0], out[0]) || !proto.Equal(in[1], out[1]) {
		t.Fatalf("read %v, error %v", out, err)
	}
	if Receiver(out[0]) != 2 {
		t.Errorf("the receiver is %d", Receiver(out[0]))
	}
	for cut := 1; cut < len(body); cut++ {
		if whole, err := Decode(body[:cut]); err == nil && len(whole) != 1 {
			t.Fatalf("%d of %d bytes: read %d messages without an error", cut, len(body), len(whole))
		}
	}
}
