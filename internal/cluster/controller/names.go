package controller

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxTopicName leaves room for the partition in the name of a directory.
const maxTopicName = 249

// CheckTopicName says why a name cannot be a topic's, nil if it can.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return refuse(kerr.InvalidTopicException, "Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return refuse(kerr.InvalidTopicException, "Topic name is invalid: '.' or '..' is not allowed")
	case len(name) > maxTopicName:
		return refuse(kerr.InvalidTopicException,
			"Topic name is invalid: the length of '%s' is longer than the max allowed length %d", name, maxTopicName)
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return refuse(kerr.InvalidTopicException, "Topic name is invalid: '%s' contains one or more characters "+
				"other than ASCII alphanumerics, '.', '_' and '-'", name)
		}
	}
	return nil
}

// unified is a name as metric names see it: '.' and '_' are the same there.
func unified(name string) string { return strings.ReplaceAll(name, ".", "_") }

func (m *Machine) noteName(name string) {
	if !strings.ContainsAny(name, "._") {
		return
	}
	u := unified(name)
	if m.colliding[u] == nil {
		m.colliding[u] = map[string]bool{}
	}
	m.colliding[u][name] = true
}

func (m *Machine) forgetName(name string) {
	u := unified(name)
	if delete(m.colliding[u], name); len(m.colliding[u]) == 0 {
		delete(m.colliding, u)
	}
}

// checkNewName refuses names that are invalid, taken, or equal to another but for '.' and '_'.
func (m *Machine) checkNewName(name string) error {
	if err := CheckTopicName(name); err != nil {
		return err
	}
	if name == MetadataTopic {
		return refuse(kerr.InvalidRequest, "Topic '%s' is the log of the metadata and cannot be created.", name)
	}
	if m.image().Topic(name) != nil {
		return refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if strings.ContainsAny(name, "._") {
		if others := m.colliding[unified(name)]; len(others) > 0 {
			return refuse(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s",
				name, slices.Min(slices.Collect(maps.Keys(others))))
		}
	}
	return nil
}
