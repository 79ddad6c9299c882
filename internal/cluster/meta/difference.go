package meta

import (
	"maps"
	"slices"
	"strings"
)

// Difference is what leads from one image to another that was not built from it.
func Difference(old, now *Image) Delta {
	d := Delta{Features: true, Quotas: true, Brokers: true, Scram: true, ACLs: true, Controllers: true}
	for id, t := range old.byID.all() {
		if now.byID.get(id) == nil {
			d.Deleted = append(d.Deleted, t)
		}
	}
	for id, t := range now.byID.all() {
		if old.byID.get(id) == nil {
			d.Created = append(d.Created, t)
		} else {
			d.Changed = append(d.Changed, t)
		}
	}
	byName := func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(d.Created, byName)
	slices.SortFunc(d.Deleted, byName)
	slices.SortFunc(d.Changed, byName)
	resources := maps.Collect(old.configs.all())
	maps.Insert(resources, now.configs.all())
	for r := range resources {
		if !maps.Equal(old.configs.get(r), now.configs.get(r)) && (r.Type != ResourceTopic || now.topics.get(r.Name) != nil) {
			d.Configs = append(d.Configs, r)
		}
	}
	return d
}
