package raft

import (
	"encoding/binary"
	"errors"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// errCutMessage is a body that ends within a message.
var errCutMessage = errors.New("raft messages: the body ends within one")

// Encode writes messages for the way to another voter: each as a length and its protobuf encoding.
func Encode(msgs []*pb.Message) ([]byte, error) {
	var out []byte
	for _, m := range msgs {
		out = binary.BigEndian.AppendUint32(out, uint32(proto.Size(m)))
		var err error
		if out, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(out, m); err != nil {
			return nil, fmt.Errorf("encode a raft message: %w", err)
		}
	}
	return out, nil
}

// Decode reads what Encode wrote.
func Decode(body []byte) ([]*pb.Message, error) {
	var msgs []*pb.Message
	for len(body) > 0 {
		if len(body) < 4 {
			return nil, errCutMessage
		}
		n := int(binary.BigEndian.Uint32(body))
		if body = body[4:]; n > len(body) {
			return nil, errCutMessage
		}
		m := &pb.Message{}
		if err := proto.Unmarshal(body[:n], m); err != nil {
			return nil, fmt.Errorf("decode a raft message: %w", err)
		}
		msgs, body = append(msgs, m), body[n:]
	}
	return msgs, nil
}

// Sender is the node that a message is from.
func Sender(m *pb.Message) int32 { return NodeID(m.GetFrom()) }

// Receiver is the node that a message is for.
func Receiver(m *pb.Message) int32 { return NodeID(m.GetTo()) }
