package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Settings say how the next calls go. A test sends them to the control page.
type Settings struct {
	Latency      float64            `json:"latency_seconds"`
	Methods      map[string]float64 `json:"method_seconds"`
	CloneSeconds float64            `json:"clone_seconds"`
	GuestSeconds float64            `json:"guest_seconds"`
	NoPowerOn    int                `json:"clones_that_stay_off"`
	MaxPage      int                `json:"max_page"`
	Revoked      []string           `json:"revoked_privileges"`
	Faults       []*Fault           `json:"faults"`
}

// Fault is what the next calls of a method end with. After: the call was carried out nevertheless.
type Fault struct {
	Method  string `json:"method"`
	Count   int    `json:"count"`
	After   bool   `json:"after"`
	Cut     bool   `json:"cut"`
	Status  int    `json:"status"`
	InTask  bool   `json:"in_task"`
	Name    string `json:"name"`
	Message string `json:"message"`
	Fields  string `json:"fields"`
}

func (f *Fault) object() types.BaseMethodFault {
	kind, ok := types.TypeFunc()(f.Name)
	if !ok {
		return &types.SystemError{}
	}
	fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault)
	if !ok {
		return &types.SystemError{}
	}
	return fault
}

// privileges of the calls, as the API reference lists them.
var privileges = map[string][]string{
	"CloneVM_Task": {
		"VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Inventory.CreateFromExisting",
		"Resource.AssignVMToPool", "Datastore.AllocateSpace",
	},
	"PowerOnVM_Task":        {"VirtualMachine.Interact.PowerOn"},
	"PowerOffVM_Task":       {"VirtualMachine.Interact.PowerOff"},
	"Destroy_Task":          {"VirtualMachine.Inventory.Delete"},
	"CreateSnapshot_Task":   {"VirtualMachine.State.CreateSnapshot"},
	"RevertToSnapshot_Task": {"VirtualMachine.State.RevertToSnapshot"},
	"CreateFolder":          {"Folder.Create"},
}

type guarded struct {
	sync.Mutex
	Settings
}

var settings guarded

func (g *guarded) delay(method string) time.Duration {
	return g.seconds(func(s *Settings) float64 { return s.Latency + s.Methods[method] })
}

func (g *guarded) seconds(of func(*Settings) float64) time.Duration {
	g.Lock()
	defer g.Unlock()
	return time.Duration(of(&g.Settings) * float64(time.Second))
}

func (g *guarded) takes(counter func(*Settings) *int) bool {
	g.Lock()
	defer g.Unlock()
	left := counter(&g.Settings)
	if *left <= 0 {
		return false
	}
	*left--
	return true
}

func (g *guarded) takeFault(method string) *Fault {
	g.Lock()
	defer g.Unlock()
	for _, fault := range g.Faults {
		if (fault.Method == method || fault.Method == "*") && fault.Count > 0 {
			fault.Count--
			return fault
		}
	}
	return nil
}

func (g *guarded) missingPrivilege(method string) *Fault {
	g.Lock()
	defer g.Unlock()
	for _, needed := range privileges[method] {
		for _, revoked := range g.Revoked {
			if needed == revoked {
				return &Fault{
					Name: "NoPermission", Message: "Permission to perform this operation was denied.",
					Fields: `<object type="Folder">group-v1</object><privilegeId>` + needed + `</privilegeId>`,
				}
			}
		}
	}
	return nil
}

func (g *guarded) revoked() []string {
	g.Lock()
	defer g.Unlock()
	return g.Revoked
}

func (g *guarded) maxPage() int {
	g.Lock()
	defer g.Unlock()
	return g.MaxPage
}

// controls is the page through which the tests set what happens, and look at what did.
type controls struct {
	front  *front
	guests *guests
}

// request is what a test asks for: settings, VMs to add, properties to change, sessions to end.
type request struct {
	Settings   *Settings                 `json:"settings"`
	Folder     string                    `json:"folder"`
	Names      []string                  `json:"names"`
	Annotation string                    `json:"annotation"`
	On         bool                      `json:"on"`
	Empty      bool                      `json:"empty"`
	Expire     bool                      `json:"expire"`
	Forget     bool                      `json:"forget_calls"`
	Change     map[string]map[string]any `json:"change"`
}

func (c *controls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var wanted request
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if wanted.Settings != nil {
		settings.Lock()
		settings.Settings = *wanted.Settings
		settings.Unlock()
	}
	world.Lock()
	defer world.Unlock()
	if wanted.Expire {
		expireSessions()
	}
	for path, changes := range wanted.Change {
		object := find(path)
		for name, value := range changes {
			if number, ok := value.(float64); ok {
				value = int32(number)
			}
			simulator.Map.Update(object, []types.PropertyChange{{Name: name, Val: value}})
		}
	}
	if wanted.Empty {
		removeVms(wanted.Folder)
	}
	addVms(wanted.Folder, wanted.Names, wanted.Annotation, wanted.On)
	c.front.Lock()
	defer c.front.Unlock()
	if wanted.Forget {
		c.front.calls = map[string]int{}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"calls": c.front.calls, "vms": vmsAt(wanted.Folder), "guest_port": c.guests.port, "guests": len(c.guests.open),
	})
}

func expireSessions() {
	manager := inside.Session.Get(simulator.Map.SessionManager().Self).(*simulator.SessionManager)
	for _, session := range manager.SessionList {
		manager.TerminateSession(inside, &types.TerminateSession{SessionId: []string{session.Key}})
	}
}
