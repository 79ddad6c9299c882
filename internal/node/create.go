package node

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// autoCreateTimeout bounds how long a client waits for a topic that it did not ask to create.
const autoCreateTimeout = 10 * time.Second

// autoCreate creates topics that somebody asked for and that do not exist.
func (n *Node) autoCreate(names []string) map[string]error {
	ctx, cancel := context.WithTimeout(context.Background(), autoCreateTimeout)
	defer cancel()
	req := kmsg.NewCreateTopicsRequest()
	b := n.live.Load().broker
	for _, name := range names {
		req.Topics = append(req.Topics, controller.AutoTopic(name, b))
	}
	failed := map[string]error{}
	answered := make(chan struct{})
	controller.Do(n.ctl, func(m *controller.Machine) ([]kmsg.Record, *kmsg.CreateTopicsResponse) {
		return m.CreateTopics(controller.Request{}, &req)
	}, func(resp *kmsg.CreateTopicsResponse, err error) {
		defer close(answered)
		for _, name := range names {
			if err != nil {
				failed[name] = err
			}
		}
		if err != nil {
			return
		}
		for _, t := range resp.Topics {
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil && t.ErrorCode != kerr.TopicAlreadyExists.Code {
				failed[t.Name] = err
			}
		}
	})
	select {
	case <-answered:
		return failed
	case <-ctx.Done():
		late := map[string]error{}
		for _, name := range names {
			late[name] = kerr.LeaderNotAvailable
		}
		return late
	}
}
