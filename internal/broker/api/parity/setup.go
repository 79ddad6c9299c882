package parity

import (
	"fmt"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// fillProducer is the producer that fills topics. It is idempotent, so that the partition remembers
// it; nobody has given it its id, and no broker minds.
const fillProducer = 4_000_000

// createAndFill makes a topic of one partition with n batches of one record with a key.
func createAndFill(r *Run, name string, n int, configs ...string) error {
	c, err := Dial(r.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t := topic(name, 1, 1)
	for i := 0; i < len(configs); i += 2 {
		t = withConfig(t, configs[i], &configs[i+1])
	}
	resp, err := c.Do(createTopics(t), 7)
	if err != nil {
		return err
	}
	if m, ok := resp.(*kmsg.CreateTopicsResponse); !ok || m.Topics[0].ErrorCode != 0 {
		return fmt.Errorf("create %s: %s", name, Dump(resp))
	}
	for i := range n {
		if err := produce(c, name, int32(i)); err != nil {
			return err
		}
	}
	return nil
}

func produce(c *Client, name string, seq int32) error {
	b := batch.NewBuilder(batch.Options{Producer: &batch.Producer{ID: fillProducer, Sequence: seq}})
	b.Append(time.Now().UnixMilli(), fmt.Append(nil, seq), []byte("value"))
	bytes, err := b.Build()
	if err != nil {
		return err
	}
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMs = -1, 10000
	req.TopicData = []kmsg.ProduceRequestTopicProduceData{{
		Name:          name,
		PartitionData: []kmsg.ProduceRequestPartitionProduceData{{Records: kmsg.Records{Bytes: bytes}}},
	}}
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) { // until the leader knows that it leads
		resp, err := c.Do(&req, 9)
		if err != nil {
			return err
		}
		m, ok := resp.(*kmsg.ProduceResponse)
		if ok && m.Responses[0].PartitionResponses[0].ErrorCode == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("produce to %s: %s", name, Dump(resp))
		}
	}
}
