/* Makes a list of permuted blocks from its opened parameters, with numbers, salts and commitment, as
   docs/list-specification.md says (the sections named below are that page's), and compares it with the list opened.

   Base SAS 9.4 with the functions SHA256 and SHA256HMACHEX. The first step stops the program where these do not do what
   it needs. Put your list's parameters in place of the example's, up to "end of the parameters". */

%let seed       = 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f;
%let list_id    = EXAMPLE-217;
%let prefix     = R;
%let length     = 5;
%let commitment = 7cb7451aa8b932da37207bddb07fd7d15f15fe46f2d8884b2db2aa149bdef8f7;
%let opened     = opened.csv;   /* what `rts list open ... --all` prints */

data strata;                    /* in the order of the definition */
  infile datalines truncover;
  input code $char40.;
  datalines;
low
high
;
run;

data arms;                      /* weight, then code, in the order of the definition */
  infile datalines truncover;
  input weight @3 code $char40.;
  datalines;
1 A
1 B
;
run;

data block_sizes;               /* ascending */
  input size @@;
  datalines;
2 4
;
run;

/* ---- end of the parameters ---- */

%let scheme = rts/permuted-blocks/1;

/* Known answers: RFC 4231 (case 1), and bytes 00 and 20 at the end of key and message, which must not be cut off. */
data _null_;
  length hmac_1 hmac_2 hash $64;
  hmac_1 = lowcase(sha256hmachex('0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b'x, 'Hi There', 0));
  hmac_2 = lowcase(sha256hmachex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e20'x,
                                 'label' || '000000000000000020'x, 0));
  hash = lowcase(put(sha256('00'x || 'salt' || '20'x), $hex64.));
  if hmac_1 ne 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'
    or hmac_2 ne '2fa2bb2c85153122d045e02744c0d0056c045297292a7dd385bf28976ff37b57'
    or hash ne 'a92ef77f3ec83483d901736fed5f73ecc206e4ae5114f4c02cd463523025b452' then do;
    put 'ERROR: this SAS does not hash bytes as the program needs it: ' hmac_1= hmac_2= hash=;
    abort cancel;
  end;
run;

proc sql noprint;
  select count(*) * &length into :entries trimmed from strata;
  select sum(weight) into :ratio_sum trimmed from arms;
  select count(*), min(size), max(size) into :size_count trimmed, :least_size trimmed, :largest_size trimmed
    from block_sizes;
quit;

data whole_list;                /* the part of a stream of the whole list is empty */
  code = ' ';
run;

/* Section 2: the first `words` words of the stream `label` of each part, numbered from 1. `high` is read in two halves,
   which are whole numbers on every platform. */
%macro stream(out, parts, label, words);
  data &out (keep=part_number n word high);
    set &parts;
    length key $32 name $200 block $64 word $16;
    part_number = _n_;
    key = input("&seed", $hex64.);
    name = "&scheme" || '1f'x || "&list_id" || '1f'x || trimn(code) || '1f'x || "&label";
    do counter = 0 to ceil((&words) / 4) - 1;
      block = lowcase(sha256hmachex(key, trim(name) || '00'x || put(counter, s370fpib8.), 0));
      do quarter = 1 to 4;
        n = 4 * counter + quarter;
        word = substr(block, 16 * quarter - 15, 16);
        high = 65536 * input(substr(word, 1, 4), hex4.) + input(substr(word, 5, 4), hex4.);
        output;
      end;
    end;
  run;
%mend stream;

/* Section 3. The least size bounds how many blocks there are; twice as many words leave room for those passed over. */
%stream(size_words, strata, sizes, 2 * &length / &least_size + 16)
%stream(order_words, strata, order, &length + &largest_size)

data slots (keep=part_number block_number n arm);
  array sizes[&size_count] _temporary_;
  if _n_ = 1 then do i = 1 to &size_count;
    set block_sizes;
    sizes[i] = size;
  end;
  made = 0;
  block_number = 0;
  do until (last.part_number);
    set size_words (keep=part_number high);
    by part_number;
    limit = &size_count * floor(4294967296 / &size_count);
    if made < &length and (&size_count = 1 or high < limit) then do;
      if &size_count = 1 then chosen = sizes[1];
      else chosen = sizes[1 + mod(high, &size_count)];
      block_number + 1;
      n = made;
      do a = 1 to arm_count;
        set arms (rename=(code=arm)) point=a nobs=arm_count;
        do copy = 1 to chosen * weight / &ratio_sum;
          n + 1;
          output;
        end;
      end;
      made + chosen;
    end;
  end;
  if made < &length then do;
    put 'ERROR: too few words of the stream sizes.';
    abort cancel;
  end;
run;

data slots;
  merge slots (in=is_slot) order_words (keep=part_number n word);
  by part_number n;
  if is_slot;
run;

/* Words are compared in the order of ASCII, also where the computer's own order is another. */
proc sort data=slots sortseq=ascii;
  by part_number block_number word n;
run;

data list (keep=entry stratum position arm);
  set slots;
  by part_number;
  retain position 0;
  if first.part_number then position = 0;
  position + 1;
  if position <= &length;
  entry + 1;
  at = part_number;
  set strata (rename=(code=stratum)) point=at;
run;

/* Section 6. */
%stream(number_words, whole_list, numbers, 2 * &entries + 100)
%stream(salt_words, whole_list, salts, 2 * &entries)

data numbers (keep=entry number);
  length number $40;
  digits = 4;
  do while (9 * 10 ** (digits - 1) < 10 * &entries);
    digits + 1;
  end;
  smallest = 10 ** (digits - 1);
  declare hash drawn();
  drawn.defineKey('value');
  drawn.defineDone();
  entry = 0;
  do until (entry = &entries or is_end);
    set number_words end=is_end;
    limit = 9 * smallest * floor(4294967296 / (9 * smallest));
    value = smallest + mod(high, 9 * smallest);
    if high < limit and drawn.check() ne 0 then do;
      drawn.add();
      entry + 1;
      number = cats("&prefix", put(value, 10.), put(98 - mod(100 * value, 97), z2.));
      output;
    end;
  end;
  if entry < &entries then do;
    put 'ERROR: too few words of the stream numbers.';
    abort cancel;
  end;
  stop;
run;

data salts (keep=entry salt);
  length salt $32;
  set salt_words;
  retain salt;
  if mod(n, 2) = 1 then salt = word;
  else do;
    salt = trim(salt) || word;
    entry = n / 2;
    if entry <= &entries then output;
  end;
run;

data list;
  merge list numbers salts;
  by entry;
run;

/* Section 7. Hashing neighbours level by level, and taking a last odd one up as it is, makes the same tree. */
data _null_;
  array node[&entries] $32 _temporary_;
  length salt_bytes $16;
  do until (is_end);
    set list end=is_end;
    salt_bytes = input(salt, $hex32.);
    node[entry] = sha256('00'x || salt_bytes || trim(stratum) || '1f'x || strip(put(position, 10.))
                         || '1f'x || trim(number) || '1f'x || trim(arm));
  end;
  left = &entries;
  do while (left > 1);
    do pair = 1 to floor(left / 2);
      node[pair] = sha256('01'x || node[2 * pair - 1] || node[2 * pair]);
    end;
    if mod(left, 2) = 1 then node[ceil(left / 2)] = node[left];
    left = ceil(left / 2);
  end;
  commitment = lowcase(put(node[1], $hex64.));
  if commitment = "&commitment" then put 'NOTE: the list made here has the published commitment ' commitment;
  else put 'ERROR: the list made here has another commitment: ' commitment;
run;

/* Where the lists differ, if they do. */
data opened;
  infile "&opened" dsd firstobs=2 truncover;
  length stratum $40 position 8 number $40 arm $40 treatment $200;
  input stratum position number arm treatment;
run;

proc compare base=opened (drop=treatment) compare=list (drop=entry salt) listall;
run;
