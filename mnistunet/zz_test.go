package mnistunet
import ("testing";"github.com/unnoise/unnoise/weights";"github.com/gomlx/compute/dtypes")
func TestZZ(t *testing.T){
 f,err:=weights.Open("/work/tmp/scratch/init.safetensors"); if err!=nil {t.Fatal(err)}
 c:=Default(Class); c.Dim=8
 m,err:=New(backend(t),c,dtypes.Float32,3); if err!=nil {t.Fatal(err)}
 got,_:=m.Tensors()
 diff,max:=0,0.0
 for _,n:=range f.Names(){ w,_:=f.Tensor(n); a,_:=w.Float32(); b,_:=got[n].Float32(); if len(a)!=len(b){t.Error(n);continue}
  for i:=range a { if a[i]!=b[i] {diff++; d:=float64(a[i]-b[i]); if d<0 {d=-d}; if d>max {max=d}} } }
 t.Log(diff,max,len(got),len(f.Names()))
}
