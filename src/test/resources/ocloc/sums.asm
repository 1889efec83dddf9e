L0:
(W)     mov (8|M0)               r127.0<1>:ud  0x0:ud
(W)     and (1|M0)               r127.2<1>:ud  r0.0<0;1,0>:ud    0xFFFFFFC0:ud
(W)     and (1|M0)               r127.0<1>:uw  r0.4<0;1,0>:uw    0xFF:uw
(W)     add (1|M0)               r127.2<1>:ud  r127.2<0;1,0>:ud  0x20:uw              {I@2}
(W)     mad (1|M0)               r127.2<1>:ud  r127.2<0;0>:ud    r127.0<0;0>:uw    0xC0:uw              {I@1}
(W)     mov (8|M0)               r7.0<1>:ud    r1.0<1;1,0>:ud
(W)     send.dc0 (8|M0)          r1       r127    null:0  0x0            0x024844FD           {A@1,$0} // wr:1h+0, rd:4; oword aligned block read x8
(W)     add (1|M0)               r127.2<1>:ud  r127.2<0;1,0>:ud  0x80:uw              {$0.src}
(W)     send.dc0 (8|M0)          r5       r127    null:0  0x0            0x022843FD           {A@1,$1} // wr:1h+0, rd:2; oword aligned block read x4
        nop
        nop
        nop
(W)     mov (8|M0)               r127.0<1>:ud  0x0:ud                              {$1.src}
(W)     and (1|M0)               r127.2<1>:ud  r0.0<0;1,0>:ud    0xFFFFFFC0:ud
(W)     send.dc0 (8|M0)          r8       r127    null:0  0x0            0x021842FD           {A@1,$2} // wr:1h+0, rd:1; oword aligned block read x2
(W)     mov (8|M0)               r3.0<1>:ud    r0.0<1;1,0>:ud                   {$0.dst}
(W)     or (1|M0)                cr0.0<1>:ud   cr0.0<0;1,0>:ud   0x4C0:uw              {A@1}
        sync.nop                             null                             {Compacted,A@1}
        sync.nop                             null                             {Compacted,$1.dst}
        mov (16|M0)              r4.0<1>:d     r1.0<1;1,0>:uw                   {A@1}
        mov (16|M16)             r6.0<1>:d     r2.0<1;1,0>:uw
        sync.nop                             null                             {Compacted,$2.dst}
        cmp (16|M0)   (lt)f1.0   null<1>:d     r4.0<1;1,0>:d     r8.4<0;1,0>:d    {I@2}
        cmp (16|M16)  (lt)f1.0   null<1>:d     r6.0<1;1,0>:d     r8.4<0;1,0>:d    {I@2}
(f1.0)  goto (32|M0)                         L416                  L416
L376:
        mov (16|M0)              r9.0<1>:ud    0x0:ud
        mov (16|M16)             r11.0<1>:f    0.0:f                               {Compacted}
        goto (32|M0)                         L416                  L728
L416:
        join (32|M0)                         L728
L432:
        mov (16|M0)              r13.0<1>:f    r4.0<1;1,0>:f                    {Compacted}
        mov (16|M16)             r15.0<1>:d    r6.0<1;1,0>:d
        mov (16|M0)              r17.0<1>:d    r4.0<1;1,0>:d
        mov (16|M16)             r19.0<1>:d    r6.0<1;1,0>:d
        mov (16|M0)              r9.0<1>:f     0.0:f                               {Compacted,I@6}
        mov (16|M16)             r11.0<1>:f    0.0:f                               {Compacted}
(W)     mov (1|M0)               r8.0<1>:f     1.0:f                               {Compacted}
L512:
        shl (16|M0)              r21.0<1>:d    r13.0<1;1,0>:d    2:w               {Compacted,F@4}
        shl (16|M16)             r23.0<1>:d    r15.0<1;1,0>:d    2:w               {Compacted,I@4}
        add (16|M0)              r21.0<1>:d    r21.0<1;1,0>:d    r8.5<0;1,0>:d    {Compacted,I@2}
        add (16|M16)             r23.0<1>:d    r23.0<1;1,0>:d    r8.5<0;1,0>:d    {Compacted,I@2}
        send.ugm (16|M0)         r25      r21     null:0  0x0            0x64280500           {A@2,$3} // wr:2+0, rd:2; load.ugm.d32.a32.ca.ca.bti[0]
        send.ugm (16|M16)        r27      r23     null:0  0x0            0x64280500           {A@1,$4} // wr:2+0, rd:2; load.ugm.d32.a32.ca.ca.bti[0]
        add (16|M0)              r29.0<1>:d    r17.0<1;1,0>:d    64:w               {Compacted}
        add (16|M16)             r31.0<1>:d    r19.0<1;1,0>:d    64:w               {Compacted}
        cmp (16|M0)   (lt)f0.0   null<1>:d     r29.0<1;1,0>:d    r8.4<0;1,0>:d    {I@2}
        cmp (16|M16)  (lt)f0.0   null<1>:d     r31.0<1;1,0>:d    r8.4<0;1,0>:d    {I@2}
        sync.nop                             null                             {Compacted,$3.dst}
        mad (16|M0)              r9.0<1>:f     r8.0<0;0>:f       r25.0<1;0>:f      r9.0<1>:f        {Compacted,F@1}
        mad (16|M16)             r11.0<1>:f    r8.0<0;0>:f       r27.0<1;0>:f      r11.0<1>:f       {Compacted,$4.dst}
(~f0.0) goto (32|M0)                         L728                  L728
L664:
        mov (16|M0)              r13.0<1>:f    r29.0<1;1,0>:f                   {Compacted}
        mov (16|M16)             r15.0<1>:f    r31.0<1;1,0>:f                   {Compacted}
        mov (16|M0)              r17.0<1>:d    r29.0<1;1,0>:d
        mov (16|M16)             r19.0<1>:d    r31.0<1;1,0>:d
(W)     jmpi                                 L512
L728:
        join (32|M0)                         L744
L744:
        shl (16|M0)              r33.0<1>:d    r4.0<1;1,0>:d     2:w               {Compacted}
        shl (16|M16)             r35.0<1>:d    r6.0<1;1,0>:d     2:w               {Compacted}
        send.slm (16|M0)         null     r33     r9:2    0x0            0x040E0504           {A@2,$5} // wr:2+2, rd:0; store.slm.d32.a32
        send.slm (16|M16)        null     r35     r11:2   0x0            0x040E0504           {A@1,$6} // wr:2+2, rd:0; store.slm.d32.a32
(W)     send.slm (1|M0)          r37      r3      null:0  0x0            0x0210011F           {$7} // wr:1+0, rd:1; fence.slm.none.group
(W)     mov (1|M0)               r38.2<1>:f    0.0:f                               {Compacted}
(W)     mov (2|M0)               r38.10<1>:ub  r3.11<0;1,0>:ub                  {F@1}
(W)     mov (8|M0)               null<1>:ud    r37.0<1;1,0>:ud                  {$7.dst}
(W)     send.gtwy (1|M0)         null     r38     null:0  0x0            0x02000004           {A@2,$8} // wr:1+0, rd:0; signal barrier
(W)     sync.bar                             null
        add (16|M0)              r47.0<1>:d    r4.0<1;1,0>:d     r8.4<0;1,0>:d    {Compacted}
        add (16|M16)             r49.0<1>:d    r6.0<1;1,0>:d     r8.4<0;1,0>:d    {Compacted}
        shl (16|M0)              r47.0<1>:d    r47.0<1;1,0>:d    2:w               {Compacted,I@2}
        shl (16|M16)             r49.0<1>:d    r49.0<1;1,0>:d    2:w               {Compacted,I@2}
        add (16|M0)              r47.0<1>:d    r47.0<1;1,0>:d    r8.5<0;1,0>:d    {Compacted,I@2}
        add (16|M16)             r49.0<1>:d    r49.0<1;1,0>:d    r8.5<0;1,0>:d    {Compacted,I@2}
        send.ugm (16|M0)         r51      r47     null:0  0x0            0x64280500           {A@2,$9} // wr:2+0, rd:2; load.ugm.d32.a32.ca.ca.bti[0]
        send.ugm (16|M16)        r53      r49     null:0  0x0            0x64280500           {A@1,$10} // wr:2+0, rd:2; load.ugm.d32.a32.ca.ca.bti[0]
        mul (16|M0)              r39.0<1>:d    r4.0<1;1,0>:d     -4:w               {Compacted}
        mul (16|M16)             r41.0<1>:d    r6.0<1;1,0>:d     -4:w               {Compacted}
        add (16|M0)              r39.0<1>:d    r39.0<1;1,0>:d    252:w               {Compacted,I@2}
        add (16|M16)             r41.0<1>:d    r41.0<1;1,0>:d    252:w               {Compacted,I@2}
        send.slm (16|M0)         r43      r39     null:0  0x0            0x04280500           {A@2,$11} // wr:2+0, rd:2; load.slm.d32.a32
        send.slm (16|M16)        r45      r41     null:0  0x0            0x04280500           {A@1,$12} // wr:2+0, rd:2; load.slm.d32.a32
(W)     mov (8|M0)               r127.0<1>:f   r3.0<1;1,0>:f                    {Compacted}
        sync.nop                             null                             {Compacted,$11.dst}
        add (16|M0)              r51.0<1>:f    r43.0<1;1,0>:f    r51.0<1;1,0>:f   {Compacted,$9.dst}
        sync.nop                             null                             {Compacted,$12.dst}
        add (16|M16)             r53.0<1>:f    r45.0<1;1,0>:f    r53.0<1;1,0>:f   {Compacted,$10.dst}
        send.ugm (16|M0)         null     r33     r51:2   0x1000000            0x640E0504           {A@2,$13} // wr:2+2, rd:0; store.ugm.d32.a32.wb.wb.bti[1]
        send.ugm (16|M16)        null     r35     r53:2   0x1000000            0x640E0504           {A@1,$14} // wr:2+2, rd:0; store.ugm.d32.a32.wb.wb.bti[1]
(W)     send.gtwy (8|M0)         null     r127    null:0  0x0            0x02000010           {EOT,A@1} // wr:1+0, rd:0; end of thread
L1112:
        nop
