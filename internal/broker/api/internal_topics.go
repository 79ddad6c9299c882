package api

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// What a broker changes of the coordinators' topics by itself, and not because a client asks for it.

// Reassign gives partitions of a topic other replicas, the number of which may change.
func (b *Broker) Reassign(topic string, to map[int32][]int32) error {
	req := kmsg.NewAlterPartitionReassignmentsRequest()
	t := kmsg.AlterPartitionReassignmentsRequestReassignableTopic{Name: topic}
	for _, i := range slices.Sorted(maps.Keys(to)) {
		t.Partitions = append(t.Partitions, kmsg.AlterPartitionReassignmentsRequestReassignablePartition{
			PartitionIndex: i, Replicas: to[i],
		})
	}
	req.Topics = append(req.Topics, t)
	resp, err := decideFor(b, itself, &req, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterPartitionReassignmentsResponse) {
		return m.AlterPartitionReassignments(&req)
	})
	if err == nil {
		err = refusedWith(resp.ErrorCode, resp.ErrorMessage)
	}
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			if e := refusedWith(p.ErrorCode, p.ErrorMessage); e != nil && err == nil {
				err = fmt.Errorf("partition %d: %w", p.PartitionIndex, e)
			}
		}
	}
	return err
}

// SetMinInsync sets min.insync.replicas of a topic.
func (b *Broker) SetMinInsync(topic string, n int) error {
	req := kmsg.NewIncrementalAlterConfigsRequest()
	value := strconv.Itoa(n)
	req.Resources = append(req.Resources, kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{
		ResourceType: int8(meta.ResourceTopic), ResourceName: topic,
		Configs: []kmsg.IncrementalAlterConfigsRequestAlterableConfig{{Name: "min.insync.replicas", Value: &value}},
	})
	resp, err := decideFor(b, itself, &req, func(m *controller.Machine) ([]kmsg.Record, *kmsg.IncrementalAlterConfigsResponse) {
		return m.IncrementalAlterConfigs(&req)
	})
	for _, r := range resp.Responses {
		if e := refusedWith(r.ErrorCode, r.ErrorMessage); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// refusedWith is the error that an answer carries.
func refusedWith(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil || *message == "" {
		return err
	}
	return errors.Join(err, errors.New(*message))
}
