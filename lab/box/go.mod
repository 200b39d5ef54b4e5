module flannel-np/lab/box

go 1.19
