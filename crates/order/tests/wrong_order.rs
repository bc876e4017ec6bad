//! What must not compile, with what the compiler says about it.

#![cfg(not(shuttle))]

#[test]
fn a_wrong_order_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/wrong_order/*.rs");
}
