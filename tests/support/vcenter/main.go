// A vCenter for tests: govmomi's simulator, on loopback, with what it lacks.
//
// It prints its address and that of its control page as one line of JSON, and ends with its standard input.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// world is held by whoever reads or changes the inventory: the simulator is not safe for what a hundred threads do.
var world sync.Mutex

// inside is the context of what this program does by itself.
var inside = &simulator.Context{
	Context: context.Background(),
	Session: &simulator.Session{Registry: simulator.NewRegistry()},
}

func main() {
	certificate := flag.String("certificate", "", "PEM file with the server's certificate and key")
	user := flag.String("user", "vmpooler", "login")
	password := flag.String("password", "", "password of the login")
	flag.Parse()
	log.SetOutput(io.Discard)

	model := simulator.VPX()
	model.Machine, model.Autostart, model.Datastore = 1, false, 2
	if err := model.Create(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer model.Remove()
	inside.Map = simulator.Map // the model made it
	guests := newGuests()
	simulator.Map.AddHandler(guests)
	makeTemplate()

	service := model.Service
	service.Listen = &url.URL{User: url.UserPassword(*user, *password)}
	service.RegisterSDK(simulator.Map)
	front := &front{sdk: service.ServeMux, tokens: map[string][]string{}, calls: map[string]int{}}

	listener := listen()
	errors := log.New(os.Stderr, "", 0)
	go (&http.Server{Handler: front, ErrorLog: errors}).ServeTLS(listener, *certificate, *certificate)
	control := listen()
	go (&http.Server{Handler: &controls{front: front, guests: guests}, ErrorLog: errors}).Serve(control)
	address, _ := json.Marshal(map[string]any{
		"port":    listener.Addr().(*net.TCPAddr).Port,
		"control": "http://" + control.Addr().String(),
	})
	fmt.Println(string(address))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the tests end, or die
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return listener
}

// makeTemplate turns one of the model's VMs into the template Templates/debian-12-x86_64.
func makeTemplate() {
	vm := find("/DC0/vm/DC0_C0_RP0_VM0").(*simulator.VirtualMachine)
	root := find("/DC0/vm").(*simulator.Folder)
	for _, name := range []string{"Templates", "Pooled VMs"} {
		root.CreateFolder(inside, &types.CreateFolder{This: root.Self, Name: name})
	}
	pooled := find("/DC0/vm/Pooled VMs").(*simulator.Folder)
	for _, name := range []string{"debian-12-x86_64", "other"} {
		pooled.CreateFolder(inside, &types.CreateFolder{This: pooled.Self, Name: name})
	}
	folder := find("/DC0/vm/Templates").(*simulator.Folder)
	folder.MoveIntoFolderTask(inside, &types.MoveIntoFolder_Task{
		This: folder.Self, List: []types.ManagedObjectReference{vm.Self},
	})
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "name", Val: "debian-12-x86_64"}})
	simulator.Map.Put(&template{*vm})
}
