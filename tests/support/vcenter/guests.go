package main

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// guests pretends the guests' systems: after a VM is switched on, its tools start and report an address, on which a
// TCP port is open until the VM is switched off or destroyed.
type guests struct {
	sync.Mutex
	port  int
	count int
	open  map[types.ManagedObjectReference]net.Listener
}

func newGuests() *guests {
	free := listen()
	defer free.Close()
	return &guests{port: free.Addr().(*net.TCPAddr).Port, open: map[types.ManagedObjectReference]net.Listener{}}
}

// Reference makes this a handler of the registry.
func (g *guests) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Guests", Value: "guests"}
}

func (g *guests) PutObject(mo.Reference) {}

func (g *guests) RemoveObject(ref types.ManagedObjectReference) { g.stop(ref) }

func (g *guests) UpdateObject(obj mo.Reference, changes []types.PropertyChange) {
	for _, change := range changes {
		if change.Name != "runtime.powerState" {
			continue
		}
		if change.Val == types.VirtualMachinePowerStatePoweredOn {
			delay := settings.seconds(func(s *Settings) float64 { return s.GuestSeconds })
			ref := obj.Reference()
			time.AfterFunc(delay+time.Millisecond, func() { g.start(ref) })
		} else {
			g.stop(obj.Reference())
		}
	}
}

func (g *guests) start(ref types.ManagedObjectReference) {
	world.Lock()
	defer world.Unlock()
	vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return
	}
	address := g.listen(ref)
	hostname := vm.Name
	for _, option := range vm.Config.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == "guestinfo.hostname" {
			hostname = fmt.Sprint(value.Value)
		}
	}
	simulator.Map.Update(vm, []types.PropertyChange{
		{Name: "guest.ipAddress", Val: address},
		{Name: "guest.hostName", Val: hostname},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
	})
}

func (g *guests) listen(ref types.ManagedObjectReference) string {
	g.Lock()
	defer g.Unlock()
	g.count++
	address := fmt.Sprintf("127.%d.%d.%d", 64+g.count/65025%128, g.count/255%255, 1+g.count%254)
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, g.port))
	if err != nil {
		return address
	}
	g.open[ref] = listener
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.Close()
		}
	}()
	return address
}

func (g *guests) stop(ref types.ManagedObjectReference) {
	g.Lock()
	defer g.Unlock()
	if listener, ok := g.open[ref]; ok {
		_ = listener.Close()
		delete(g.open, ref)
	}
}
